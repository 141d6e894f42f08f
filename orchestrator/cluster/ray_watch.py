"""Watches the Ray that a command works on: its own end would come late, without a word, and with the code of a job of
which some tasks failed.

Where the GCS is gone, Ray ends the driver's process after a minute from within; where the raylet is gone, calls wait or
fail one after the other.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from infra.errors import RayFailed
from infra.printable import printable
from orchestrator.cluster.descendants import kill_descendants
from orchestrator.exit_codes import RAY_FAILED

LOOK_SECONDS = 0.5
CONNECT_SECONDS = 5.0
REFUSED_SECONDS = 1.0
"""For which nobody listens where a process of Ray's was that nobody starts again."""
SILENT_SECONDS = 45.0
"""Likewise where one may be too busy to answer, or be started again, as a cluster's GCS is. Ray itself waits for 60."""
GRACE_SECONDS = 15.0
"""For the command to end in good order once Ray is gone, which calls into it may keep it from."""


@dataclass(frozen=True)
class Part:
    """A process of Ray's.

    Attributes:
        name: what it is called.
        address: host and port at which it listens.
        comes_back: whether it may be started again.
    """

    name: str
    address: tuple[str, int]
    comes_back: bool = False


class RayWatch:
    """Has the main thread stop what it does when nobody answers for a part of Ray, and ends the process if it cannot.

    Args:
        parts: of Ray.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.lost: str | None = None
        """What is gone, in a sentence."""
        self._parts = parts
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look, name="speechprompt-ray-watch", daemon=True)

    def start(self) -> None:
        """Begin; from the main thread, which is the one that it stops."""
        self._before = signal.signal(signal.SIGUSR2, _stop)
        self._thread.start()

    def close(self) -> None:
        """The work has ended; the process still ends in time where Ray is gone, and letting go of it takes for ever."""
        if self.lost is None:
            self._closed.set()
            self._thread.join()
        signal.signal(signal.SIGUSR2, self._before)

    def _look(self) -> None:
        silent_since: dict[Part, float] = {}
        while not self._closed.wait(LOOK_SECONDS):
            for part in self._parts:
                error = _silence(part.address)
                if error is None:
                    silent_since.pop(part, None)
                    continue
                since = silent_since.setdefault(part, time.monotonic())
                gone = isinstance(error, ConnectionRefusedError) and not part.comes_back
                if time.monotonic() - since >= (REFUSED_SECONDS if gone else SILENT_SECONDS):
                    self._end(part)
                    return

    def _end(self, part: Part) -> None:
        if self._closed.is_set():
            return
        self.lost = f"{part.name} has ended, as its logs may explain; run it again, and it goes on"
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
        time.sleep(GRACE_SECONDS)
        _end_process(self.lost)


@contextmanager
def ray_watched(*, own: bool) -> Iterator[None]:
    """Watch the Ray to which this process is connected, for the time of the block.

    Args:
        own: whether this process has started it.

    Raises:
        RayFailed: a part of it is gone.
    """
    # Python lets the main thread alone be stopped.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watch = RayWatch(_parts(own=own))
    _watches.append(watch)
    watch.start()
    try:
        with lost_ray_explained():
            yield
    finally:
        watch.close()
        _watches.remove(watch)


@contextmanager
def lost_ray_explained() -> Iterator[None]:
    """Whatever ends the block once Ray is gone is due to that.

    Raises:
        RayFailed: Ray is gone.
    """
    try:
        yield
    # Ray turns what stops the main thread in one of its calls into a bare ``KeyboardInterrupt``.
    except (KeyboardInterrupt, Exception) as error:
        if (lost := lost_ray()) is None:
            raise
        raise RayFailed(lost) from error


@contextmanager
def answered_within(seconds: float, silence: str) -> Iterator[None]:
    """End the process where a call into Ray, which may wait for ever and cannot be stopped, takes longer.

    Args:
        seconds: that it may take.
        silence: what to say then.
    """
    timer = threading.Timer(seconds, _end_process, [silence])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def lost_ray() -> str | None:
    """What is gone of the Ray that is watched; ``None`` as long as nothing is."""
    return next((watch.lost for watch in _watches if watch.lost is not None), None)


_watches: list[RayWatch] = []


def _parts(*, own: bool) -> list[Part]:
    import ray

    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    here = context.get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == here)  # type: ignore[no-untyped-call]
    return [
        Part("Ray's control process (GCS)", (host.strip("[]"), int(port)), comes_back=not own),
        Part("Ray's node process (raylet)", (node["NodeManagerAddress"], node["NodeManagerPort"])),
    ]


def _silence(address: tuple[str, int]) -> OSError | None:
    """Why nobody answers there; ``None`` if somebody does."""
    try:
        socket.create_connection(address, CONNECT_SECONDS).close()
    except OSError as error:
        return error
    return None


def _end_process(why: str) -> None:
    with suppress(OSError):
        os.write(2, f"error: {printable(why)}\n".encode())
    kill_descendants()
    os._exit(RAY_FAILED)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt
