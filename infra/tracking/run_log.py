"""What is logged about one run."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from infra.printable import printable_json, printable_lines
from infra.redaction import redacted
from infra.tracking.event import Params, Point, RunStatus, Status, Tags
from infra.tracking.journal import Journal

# What MLflow takes; the rest of a longer value would make it refuse all of it.
PARAM_CHARACTERS = 6000
TAG_CHARACTERS = 8000
NAME_CHARACTERS = 250
FORBIDDEN_IN_NAMES = re.compile(r"[^/\w.\- :]")

POLL_SECONDS = 0.05


class RunLog:
    """Logs one run. Every method returns at once and works whether or not MLflow does.

    Names of metrics, parameters and tags may hold letters, digits, spaces and ``/ _ - . :``; anything else
    becomes ``_``. Made by ``Tracking.run``.
    """

    def __init__(self, journal: Journal, *, wake: Callable[[], None]) -> None:
        self._journal = journal
        self._wake = wake

    @property
    def place(self) -> Path:
        """Where its events wait."""
        return self._journal.directory

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, as text of at most 6000 characters.

        A parameter that has a value keeps it: MLflow refuses another, which is set aside and reported.
        """
        if values:
            self._journal.append(Params(_texts(values, PARAM_CHARACTERS)))

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags, as text of at most 8000 characters; a later value replaces an earlier one."""
        if values:
            self._journal.append(Tags(_texts(values, TAG_CHARACTERS)))

    def point(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log metrics at an optimizer step.

        A metric that has a value at this step keeps it, so a lane that resumes from a checkpoint may log the
        same steps again. A point on a run that was finished makes it a running one.
        """
        values = {_name(name): float(value) for name, value in metrics.items()}
        self._journal.append(Point(int(step), values))

    def figure(self, name: str, png: bytes) -> None:
        """Keep a picture as ``figures/<name>.png``."""
        self._journal.append_artifact(f"figures/{_file_name(name)}.png", png)

    def table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Keep equally long columns of JSON values as ``tables/<name>.json``, which the UI shows as a table.

        Raises:
            ValueError: the columns differ in length.
        """
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        table = {"columns": list(columns), "data": rows}
        document = printable_json(json.dumps(table, ensure_ascii=False))
        self._journal.append_artifact(f"tables/{_file_name(name)}.json", document.encode())

    def text(self, name: str, content: str) -> None:
        """Keep a text as ``texts/<name>``; the name carries its own suffix, such as ``.md``."""
        self._journal.append_artifact(f"texts/{_file_name(name)}", printable_lines(redacted(content)).encode())

    def finish(self, status: RunStatus) -> None:
        """Say how the run ended, at this time.

        Raises:
            ValueError: no such status.
        """
        if status not in get_args(RunStatus):
            raise ValueError(f"status must be one of {', '.join(get_args(RunStatus))}, not {status}")
        self._journal.append(Status(status))
        self._wake()

    def run_id(self, wait: float = 0.0) -> str | None:
        """The run's id in MLflow; none as long as MLflow has not been reached.

        Args:
            wait: seconds to give it.
        """
        deadline = time.monotonic() + wait
        while (known := self._journal.sent().run_id) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return known


def _texts(values: Mapping[str, Any], limit: int) -> dict[str, str]:
    return {_name(name): _cut(printable_lines(redacted(str(value))), limit) for name, value in values.items()}


def _name(name: str) -> str:
    return FORBIDDEN_IN_NAMES.sub("_", name)[:NAME_CHARACTERS]


def _file_name(name: str) -> str:
    return _name(name).replace("/", "_")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
