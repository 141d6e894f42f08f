"""Where results are printed for people."""

from __future__ import annotations

from rich.console import Console

PIPE_WIDTH = 200


def results_console() -> Console:
    """On stdout; in a file or a pipe tables are not cut to eighty columns."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)
