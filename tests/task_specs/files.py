"""Writes small tasks for tests."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from infra.errors import InvalidInputs, Problem
from task_specs.dataset import read_dataset
from task_specs.schema import TaskSpec, load_task_spec

Rows = Sequence[Mapping[str, Any]]

SOUND: Rows = (
    {"units": "1 2 3", "label": "yes", "split": "train"},
    {"units": "4 5", "label": "no", "split": "train"},
    {"units": "6", "label": "no", "split": "valid"},
    {"units": "7 8 7", "label": "yes", "split": "test"},
)


def delimited(rows: Rows, delimiter: str = ",") -> str:
    """The rows as CSV, with the columns of the first."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def task(directory: Path, manifest: str | bytes, *, name: str = "data.csv", **data: Any) -> TaskSpec:
    """A task spec in ``directory`` with one manifest beside it."""
    content = manifest.encode() if isinstance(manifest, str) else manifest
    (directory / name).write_bytes(content)
    return spec(directory, data={"path": name, **data})


def spec(directory: Path, **fields: Any) -> TaskSpec:
    """A task spec in ``directory``; it must be sound."""
    file = directory / "task.yaml"
    file.write_text(yaml.safe_dump({"name": "task", **fields}, allow_unicode=True), encoding="utf-8")
    loaded, problems = load_task_spec(str(file))
    assert loaded is not None, problems
    return loaded


def recordings(root: Path, *paths: str) -> None:
    """Empty files, which is enough for finding them."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def problems_of(spec: TaskSpec) -> list[Problem]:
    """What is wrong with the data of a task."""
    try:
        read_dataset(spec)
    except InvalidInputs as error:
        return list(error.problems)
    return []


def texts(spec: TaskSpec, directory: Path) -> list[str]:
    """The same as sentences, without the directory."""
    return [str(problem).replace(f"{directory}/", "") for problem in problems_of(spec)]
