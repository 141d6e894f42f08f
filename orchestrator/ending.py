"""How a command ends that is cut short by Ctrl-C, SIGTERM, a closed terminal, a closed pipe, or a full disk."""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
import termios
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from infra.errors import StorageError
from orchestrator.exit_codes import BROKEN_OFF, HUNG_UP, READER_GONE, TERMINATED

STREAMS = (1, 2)


def leave_closed_terminal() -> bool:
    """Redirect standard output and standard error to ``/dev/null`` if they lead to a closed terminal.

    Returns:
        Whether one of them did.
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


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


SIGNALS = {signal.SIGTERM: TERMINATED, signal.SIGHUP: HUNG_UP}
"""Signals that end a command, and the exit code of each."""


class Terminated(KeyboardInterrupt):
    """A signal that ends the command, raised as an exception so that it cleans up as after Ctrl-C.

    Args:
        code: exit code of the command.
    """

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class BreakableGroup(click.Group):
    """Command group that ends in one line, with a shell's exit code for what interrupted it."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            StorageError: the output cannot be written.
        """
        with _terminable():
            try:
                done = super().invoke(ctx)
                # None if the shell closed the stream (`>&-`).
                if sys.stdout is not None:
                    sys.stdout.flush()
            except KeyboardInterrupt as end:
                with suppress(OSError):
                    print("interrupted", file=sys.stderr)  # noqa: T201
                sys.exit(end.code if isinstance(end, Terminated) else BROKEN_OFF)
            except BrokenPipeError:
                _leave_output()
                sys.exit(READER_GONE)
            except OSError as error:
                # Errors of a stream name no file.
                if error.filename is not None or error.errno not in FULL:
                    raise
                _leave_output()
                reason = error.strerror
                raise StorageError(f"the output cannot be written ({reason}); make room where it goes") from error
        return done


def limit_reached(error: BaseException) -> str:
    """Return which limit of this machine caused an error, and the remedy; empty for any other error."""
    if isinstance(error, MemoryError):
        return "this machine has too little memory; lower gang or recipe.batch_size, or use a larger machine"
    if isinstance(error, OSError) and error.errno in FULL:
        return f"{error.filename} cannot be written ({error.strerror}); make room there"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"too many files are open ({error.strerror}); raise the limit, for example with ulimit -n 65536"
    return ""


def keep_traceback(error: BaseException) -> str:
    """Write the traceback of an internal error to a file if stderr is a terminal, else to stderr; say where it is."""
    text = "".join(traceback.format_exception(error))
    if sys.stderr.isatty():
        with suppress(OSError):
            with tempfile.NamedTemporaryFile("w", prefix="speechprompt-", suffix=".txt", delete=False) as file:
                file.write(text)
            return f"its traceback is in {file.name}"
    sys.stderr.write(text)
    return "its traceback is above"


@contextmanager
def _terminable() -> Iterator[None]:
    """Raise signals as exceptions, so that nothing is left half-written; Python allows this in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hear(number: int, _: object) -> None:
        if number == signal.SIGHUP:
            leave_closed_terminal()
        raise Terminated(SIGNALS[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        # Ignored under nohup: the command goes on without its terminal.
        if handler != signal.SIG_IGN:
            signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_output() -> None:
    """Discard buffered output, which Python would fail to flush again at exit."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
