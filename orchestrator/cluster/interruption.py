"""SIGTERM, Ctrl-C and a terminal that is closed: the job saves what it can, within a time, and ends so that it can be
submitted again."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from orchestrator.cluster.descendants import kill_descendants
from orchestrator.ending import leave_closed_terminal
from orchestrator.exit_codes import INTERRUPTED

GRACE_SECONDS = 30.0
AGAIN = "submit the job again and it goes on"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class JobInterrupted(KeyboardInterrupt):
    """The job was asked to end; libraries clean up after it as after Ctrl-C."""


class Interruption:
    """Whether the job was asked to end.

    Args:
        grace: seconds from the first signal to the end, whatever is not saved by then; a second signal ends at once.
        again: what to do to go on.
    """

    def __init__(self, grace: float = GRACE_SECONDS, again: str = AGAIN) -> None:
        self.grace = grace
        self.again = again
        self._deadline: float | None = None
        self._held = 0
        self._timer = threading.Timer(grace, self._end_now, [f"not everything was saved within {grace:g} seconds"])
        self._timer.daemon = True

    @property
    def requested(self) -> bool:
        return self._deadline is not None

    @property
    def left(self) -> float:
        """Seconds left of the grace; all of it as long as nobody asked."""
        return self.grace if self._deadline is None else self._deadline - time.monotonic()

    def listen(self) -> None:
        """Take the signals; to be repeated after a library has taken them, as ``ray.init`` does."""
        # Python allows it in the main thread alone.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # Under nohup work goes on without its terminal.
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self._hear)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block that looks at ``requested`` by itself, and is not broken off.

        Raises:
            JobInterrupted: at its end, if the job was asked to end.
        """
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self.requested:
            raise JobInterrupted

    def close(self) -> None:
        """The end came in time."""
        self._timer.cancel()

    def _hear(self, number: int, *_: object) -> None:
        if number == signal.SIGHUP:
            leave_closed_terminal()
        if self.requested:
            self._end_now("ended at once by a second signal")
        self._deadline = time.monotonic() + self.grace
        self._timer.start()
        if not self._held:
            raise JobInterrupted

    def _end_now(self, why: str) -> None:
        """Without any cleaning up; what runs elsewhere ends with its driver."""
        with suppress(OSError):
            os.write(2, f"interrupted, {why}; {self.again}\n".encode())
        kill_descendants()
        os._exit(INTERRUPTED)


@contextmanager
def interruptible(grace: float = GRACE_SECONDS, again: str = AGAIN) -> Iterator[Interruption]:
    """Run work that SIGTERM and Ctrl-C may interrupt; the process then ends with code ``INTERRUPTED``."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    interruption = Interruption(grace, again)
    interruption.listen()
    try:
        yield interruption
    except (KeyboardInterrupt, SystemExit) as end:
        # While Ray starts, its own handler turns SIGTERM into an exit; one of its calls turns what this one raises into
        # a bare KeyboardInterrupt.
        if isinstance(end, SystemExit) and end.code != signal.SIGTERM:
            raise
        with suppress(OSError):
            print(f"interrupted; {again}", file=sys.stderr)  # noqa: T201
        sys.exit(INTERRUPTED)
    finally:
        interruption.close()
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
