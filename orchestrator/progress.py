"""Progress of long work: bars on a terminal, lines elsewhere, plain or JSON; on stderr, since stdout is for results."""

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
    """Shows text as it is: what a label or a file name holds is no markup, cannot steer the terminal, nor become an
    emoji. Colours are given as styles."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As every console does, with characters spelled out that would not be seen."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raises as other writers do: Rich would end the process with the code of a job of which some tasks failed."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def results_console() -> Console:
    """On stdout; in a file or a pipe tables are not cut to eighty columns."""
    console = PlainConsole()
    return console if console.is_terminal else PlainConsole(width=PIPE_WIDTH)


def errors_console() -> Console:
    """On stderr, for progress and errors; lines are as long as they are."""
    return PlainConsole(stderr=True, soft_wrap=True)


def as_text(text: str, **options: Any) -> Text:
    """Text by others as one line of a table or a list, in any console; ``options`` are those of ``rich.text.Text``."""
    return Text(printable(text), **options)


def say(text: str, style: str = "") -> None:
    """A sentence to the user, on stderr."""
    text = redacted(text)
    if logs_as_json():
        logging.getLogger("speechprompt.cli").error("%s", text)
    else:
        errors_console().print(printable(text), style=style)


SECONDS_BETWEEN_LINES = 10.0

logger = logging.getLogger("speechprompt.progress")


class Stage:
    """One long step, with how much of it is done.

    Args:
        view: where it is shown.
        title: what it is.
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
        """Show that ``done`` of ``total`` is done."""
        if self._view.bars is not None and self._bar is not None:
            self._view.bars.update(self._bar, completed=done, total=total, note=note)
        elif time.monotonic() >= self._next_line and done < total:
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            self._view.line(f"{self._title}: {done}/{total}{'  ' + note if note else ''}")

    def close(self, note: str = "") -> None:
        """Show that it is over."""
        seconds = time.monotonic() - self._started
        if self._view.bars is not None and self._bar is not None:
            self._view.bars.remove_task(self._bar)
        self._view.line(f"{self._title}: {note or 'done'} ({seconds:.0f} s)")


class ProgressView:
    """Shows stages of work as they go on; used as a context manager."""

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
        """One line that stays."""
        if self._as_json:
            logger.info("%s", redacted(text))
        else:
            self._print(printable(redacted(text)))

    def _print(self, text: str) -> None:
        try:
            self.console.print(text)
        except OSError as error:
            # The terminal was closed; SIGHUP, which asks the work to save itself, comes a moment later.
            if error.errno != errno.EIO or not leave_closed_terminal():
                raise

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        """A stage; its end is shown unless it failed."""
        stage = Stage(self, title)
        yield stage
        stage.close()
