"""Progress of long work on stderr: bars on a terminal, else lines, plain or JSON."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text

from infra.json_log import logs_as_json
from infra.printable import printable, printable_lines
from infra.redaction import redacted
from orchestrator.ending import leave_closed_terminal

PIPE_WIDTH = 200


class PlainConsole(Console):
    """Console that shows text literally: labels and file names cannot act as markup, emoji or terminal controls."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render with invisible characters spelled out."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raise ``BrokenPipeError``; Rich would exit with 1, the code of failed tasks."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def results_console() -> Console:
    """Return a console on stdout that does not cut tables to 80 columns in a file or a pipe."""
    console = PlainConsole()
    return console if console.is_terminal else PlainConsole(width=PIPE_WIDTH)


def errors_console() -> Console:
    """Return a console on stderr for progress and errors, without hard line breaks."""
    return PlainConsole(stderr=True, soft_wrap=True)


def as_text(text: str, **options: Any) -> Text:
    """Return untrusted text as one printable line for a table or list; ``options`` are those of ``rich.text.Text``."""
    return Text(printable(text), **options)


def say(text: str, style: str = "") -> None:
    """Write a sentence for the user to stderr, credentials redacted."""
    text = redacted(text)
    if logs_as_json():
        logging.getLogger("speechprompt.cli").error("%s", text)
    else:
        errors_console().print(printable(text), style=style)


SECONDS_BETWEEN_LINES = 10.0

logger = logging.getLogger("speechprompt.progress")


class Stage:
    """Progress of one long step.

    Args:
        view: display that shows it.
        title: name of the step.
    """

    def __init__(self, view: ProgressView, title: str) -> None:
        self._view, self._title = view, title
        self._bar: TaskID | None = None
        self._next_line = 0.0
        self._started = time.monotonic()
        if view.bars is not None:
            self._bar = view.bars.add_task(title, total=None, note="")
        else:
            view.line(f"{title} ...")

    def update(self, done: int, total: int, note: str = "") -> None:
        """Show that ``done`` of ``total`` items are done."""
        if self._view.bars is not None and self._bar is not None:
            self._view.bars.update(self._bar, completed=done, total=total, note=note)
        elif time.monotonic() >= self._next_line and done < total:
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            self._view.line(f"{self._title}: {done}/{total}{'  ' + note if note else ''}")

    def close(self, note: str = "") -> None:
        """Show that the step is done."""
        seconds = time.monotonic() - self._started
        if self._view.bars is not None and self._bar is not None:
            self._view.bars.remove_task(self._bar)
        self._view.line(f"{self._title}: {note or 'done'} ({seconds:.0f} s)")


class ProgressView:
    """Display of the progress of stages; a context manager."""

    def __init__(self) -> None:
        self.console = errors_console()
        self.bars: Progress | None = None
        self._as_json = logs_as_json()
        if self.console.is_terminal and not self._as_json:
            self.bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=self.console,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self.bars is not None:
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bars is not None:
            self.bars.stop()

    def line(self, text: str) -> None:
        """Show a permanent line."""
        if self._as_json:
            logger.info("%s", redacted(text))
        else:
            self._print(printable(redacted(text)))

    def _print(self, text: str) -> None:
        try:
            self.console.print(text)
        except OSError as error:
            # The terminal was closed; SIGHUP, at which the work saves itself, comes a moment later.
            if error.errno != errno.EIO or not leave_closed_terminal():
                raise

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        """Show a stage, and its end unless it failed."""
        stage = Stage(self, title)
        yield stage
        stage.close()
