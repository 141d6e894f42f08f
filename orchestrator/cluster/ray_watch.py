"""Watch over Ray's processes: without it a command would end late, without a message, and with the exit code of failed
tasks.

When the GCS is gone, Ray ends the driver's process after a minute. When the raylet is gone, calls hang or fail one
after the other, and the first one that reaches for the object store ends the process.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from infra.errors import RayFailed
from infra.printable import printable
from orchestrator.cluster.descendants import descendants, kill_descendants
from orchestrator.exit_codes import RAY_FAILED

LOOK_SECONDS = 0.5
CONNECT_SECONDS = 5.0
REFUSED_SECONDS = 1.0
"""Time without a listener after which a process that is never restarted counts as gone."""
SILENT_SECONDS = 45.0
"""The same for a process that may be too busy to answer, or may be restarted, as a cluster's GCS; Ray waits 60 s."""
GRACE_SECONDS = 15.0
"""Time for the command to end by itself once Ray is gone, which a hanging call may prevent."""
GCS_NAME, GCS_PROCESS = "Ray's control process (GCS)", "gcs_server"
RAYLET_NAME, RAYLET_PROCESS = "Ray's node process (raylet)", "raylet"
START_SECONDS = {GCS_PROCESS: (GCS_NAME, 15.0), RAYLET_PROCESS: (RAYLET_NAME, 4.0)}
"""Name of each process that Ray starts, and the time it may be gone while Ray starts: Ray may say itself why, and does
so sooner."""


@dataclass(frozen=True)
class Part:
    """A process of Ray.

    Attributes:
        name: name of the process, for messages.
        address: host and port at which it listens.
        comes_back: whether it may be restarted.
        pid: process id, where it is a descendant of this process.
    """

    name: str
    address: tuple[str, int]
    comes_back: bool = False
    pid: int | None = None


class RayWatch:
    """Interrupts the main thread when a part of Ray no longer answers, and ends the process if that does not help.

    Args:
        parts: processes to watch.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.lost: str | None = None
        """Sentence about the part that is gone."""
        self._parts = parts
        self._closed = threading.Event()
        self._ends = {end: part for part in parts if (end := _end_of(part.pid)) is not None}
        self._heard, self._bell = os.pipe()
        self._thread = threading.Thread(target=self._look, name="speechprompt-ray-watch", daemon=True)

    def start(self) -> None:
        """Start watching; must be called in the main thread, which is the one interrupted."""
        self._before = signal.signal(signal.SIGUSR2, _stop)
        self._thread.start()

    def close(self) -> None:
        """Stop watching; if Ray is gone, the process still ends in time even when disconnecting hangs."""
        if self.lost is None:
            self._closed.set()
            os.write(self._bell, b".")
            self._thread.join()
            for descriptor in (*self._ends, self._heard, self._bell):
                os.close(descriptor)
        signal.signal(signal.SIGUSR2, self._before)

    def _look(self) -> None:
        silent_since: dict[Part, float] = {}
        while True:
            ended = select.select([self._heard, *self._ends], [], [], LOOK_SECONDS)[0]
            if self._closed.is_set():
                return
            if ended:
                self._end(self._ends[ended[0]])
                return
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
        self.lost = _ended(part.name)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
        time.sleep(GRACE_SECONDS)
        _end_process(self.lost)


@contextmanager
def ray_watched(*, own: bool) -> Iterator[None]:
    """Watch the connected Ray for the duration of the block.

    Args:
        own: whether this process started it.

    Raises:
        RayFailed: a part of it is gone.
    """
    # Only the main thread can be interrupted.
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
def start_watched() -> Iterator[None]:
    """End the process if a part of Ray that it starts in the block is gone before the block is left: Ray would wait for
    a GCS for a minute, for a raylet for nine seconds, and then end the process without a message."""
    closed = threading.Event()

    def look() -> None:
        seen: dict[str, float] = {}
        while not closed.wait(LOOK_SECONDS):
            running, now = set(descendants().values()), time.monotonic()
            seen |= dict.fromkeys(START_SECONDS.keys() & running, now)
            for process, last in seen.items():
                name, patience = START_SECONDS[process]
                if now - last >= patience:
                    _end_process(_ended(name))

    thread = threading.Thread(target=look, name="speechprompt-ray-start", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closed.set()
        thread.join()


@contextmanager
def lost_ray_explained() -> Iterator[None]:
    """Turn any error in the block into ``RayFailed`` if Ray is gone.

    Raises:
        RayFailed: Ray is gone.
    """
    try:
        yield
    # Ray's calls turn any interruption of the main thread into a bare ``KeyboardInterrupt``.
    except (KeyboardInterrupt, Exception) as error:
        if (lost := lost_ray()) is None:
            raise
        raise RayFailed(lost) from error


@contextmanager
def answered_within(seconds: float, silence: str) -> Iterator[None]:
    """End the process if a call into Ray, which may hang and cannot be interrupted, takes too long.

    Args:
        seconds: longest time of the call.
        silence: message to write before the process ends.
    """
    timer = threading.Timer(seconds, _end_process, [silence])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def lost_ray() -> str | None:
    """Return a sentence about the part of the watched Ray that is gone; ``None`` if all answer."""
    return next((watch.lost for watch in _watches if watch.lost is not None), None)


_watches: list[RayWatch] = []


def _parts(*, own: bool) -> list[Part]:
    import ray

    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    here = context.get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == here)  # type: ignore[no-untyped-call]
    pids = {name: pid for pid, name in descendants().items()} if own else {}
    return [
        Part(GCS_NAME, (host.strip("[]"), int(port)), not own, pids.get(GCS_PROCESS)),
        Part(RAYLET_NAME, (node["NodeManagerAddress"], node["NodeManagerPort"]), pid=pids.get(RAYLET_PROCESS)),
    ]


def _end_of(pid: int | None) -> int | None:
    """Return a file descriptor that becomes readable when a process ends, at once and before anyone has waited for it;
    none where the system has no such thing."""
    if pid is None or not hasattr(os, "pidfd_open"):
        return None
    with suppress(OSError):
        return os.pidfd_open(pid)
    return None


def _ended(name: str) -> str:
    return f"{name} has ended, see Ray's logs for the reason; run the command again, and it goes on"


def _silence(address: tuple[str, int]) -> OSError | None:
    """Return why nothing answers at an address; ``None`` if something does."""
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
