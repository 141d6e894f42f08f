"""Where results are printed for people."""

from __future__ import annotations

import errno
import os

from rich.console import Console

PIPE_WIDTH = 200


class _Results(Console):
    def on_broken_pipe(self) -> None:
        # Rich would end the process with the code of a job of which some tasks failed.
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def results_console() -> Console:
    """On stdout; in a file or a pipe tables are not cut to eighty columns."""
    console = _Results(highlight=False)
    return console if console.is_terminal else _Results(highlight=False, width=PIPE_WIDTH)
