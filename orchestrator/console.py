"""Where results and progress are printed for people."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from infra.printable import printable_lines

PIPE_WIDTH = 200


class PlainConsole(Console):
    """Shows text as it is: what a label or a file name holds cannot steer the terminal, nor become an emoji."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As every console does, with characters spelled out that would not be seen."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raises as other writers do: Rich would end the process with the code of a job of which some tasks failed."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def results_console() -> Console:
    """On stdout; in a file or a pipe tables are not cut to eighty columns."""
    console = PlainConsole(highlight=False, emoji=False)
    return console if console.is_terminal else PlainConsole(highlight=False, emoji=False, width=PIPE_WIDTH)


def errors_console() -> Console:
    """On stderr, for progress and errors; lines are as long as they are."""
    return PlainConsole(stderr=True, highlight=False, emoji=False, soft_wrap=True)
