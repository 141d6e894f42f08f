"""Interruption of a job by SIGTERM, Ctrl-C or a closed terminal: it saves its work within a grace period and ends, so
that it can be submitted again."""

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
    """The job was interrupted; a ``KeyboardInterrupt``, so that libraries clean up as after Ctrl-C."""


class Interruption:
    """Request to end the job, set by signals.

    Args:
        grace: seconds from the first signal to the end of the process; a second signal ends it at once.
        again: how to go on, for the message at the end.
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
        """Seconds left of the grace period; all of it before the first signal."""
        return self.grace if self._deadline is None else self._deadline - time.monotonic()

    def listen(self) -> None:
        """Handle the signals; call it again after a library has taken them over, as ``ray.init`` does."""
        # Python allows this in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # Ignored under nohup: work goes on without its terminal.
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self._hear)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the block from being interrupted; it must check ``requested`` itself.

        Raises:
            JobInterrupted: at the end of the block, if the job was interrupted in it.
        """
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self.requested:
            raise JobInterrupted

    def close(self) -> None:
        """Cancel the end of the process at the end of the grace period."""
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
        """End the process without cleaning up; workers elsewhere end with their driver."""
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
        # While Ray starts, its own handler turns SIGTERM into SystemExit; its calls turn JobInterrupted into a bare
        # KeyboardInterrupt.
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
