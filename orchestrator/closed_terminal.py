"""What a command writes once its terminal is closed goes nowhere: a line that cannot be shown must not end its work."""

from __future__ import annotations

import errno
import os
import termios

STREAMS = (1, 2)


def leave_closed_terminal() -> bool:
    """Turn those of standard output and standard error that lead to a closed terminal to ``/dev/null``.

    Returns:
        Whether there was one.
    """
    closed = [stream for stream in STREAMS if _is_closed_terminal(stream)]
    for stream in closed:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream)
        os.close(nowhere)
    return bool(closed)


def _is_closed_terminal(stream: int) -> bool:
    try:
        termios.tcgetattr(stream)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False
