"""Where results and progress are printed for people."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from infra.printable import printable, printable_lines

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
