"""A server process of the local cluster: started detached, and stopped by its identity."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from infra.errors import SpeechPromptError
from infra.private_directory import private_directory

MARK = "SPEECHPROMPT_SERVICE"
"""Environment variable that marks a service and its descendants, with a random value per service."""

STOP_SECONDS = 20.0
POLL_SECONDS = 0.1


@dataclass
class Service:
    """A running server.

    Attributes:
        name: short name, also that of its log file.
        pid: process ID of the server, which leads its own session.
        url: address at which it listens.
        env: environment variables for clients, including secrets; not shown by ``repr``.
        started: start of the process in seconds since the epoch, which tells a reused process ID.
        mark: value of ``MARK`` in the environment of the process and its descendants.
    """

    name: str
    pid: int
    url: str
    env: dict[str, str] = field(default_factory=dict, repr=False)
    started: float = 0.0
    mark: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)
    """The child process, to reap it; ``None`` if this process is not its parent."""

    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self._leader() is not None

    def stop(self) -> None:
        """Stop the process with SIGTERM and, after at most ``STOP_SECONDS``, kill its remaining descendants."""
        members = self._members()
        leader = self._leader()
        if leader is not None:
            leader.send_signal(signal.SIGTERM)
            self._wait([leader])
        # Processes that outlived the leader: Ray's workers, or a server whose parent was killed.
        survivors = [member for member in {*members, *self._members()} if member.is_running()]
        for survivor in survivors:
            try:
                survivor.kill()
            except psutil.NoSuchProcess:
                continue
        self._wait(survivors)
        if self.process is not None:
            self.process.wait()

    def _wait(self, processes: Sequence[psutil.Process]) -> None:
        if self.process is not None:
            self.process.poll()
        psutil.wait_procs(processes, timeout=STOP_SECONDS)

    def _leader(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            # Computed from clock ticks and the boot time, which may drift by a fraction of a second.
            same = abs(process.create_time() - self.started) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def _members(self) -> list[psutil.Process]:
        leader = self._leader()
        members = [leader, *leader.children(recursive=True)] if leader is not None else []
        for process in psutil.process_iter():
            try:
                if self.mark and process.environ().get(MARK) == self.mark:
                    members.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return [member for member in dict.fromkeys(members) if member.pid != os.getpid()]


def launch(
    name: str,
    command: Sequence[str],
    *,
    directory: Path,
    url: str,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    client_env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    umask: int = -1,
    work_in: Path | None = None,
) -> Service:
    """Start a server detached from the terminal, and wait until it answers.

    Args:
        name: short name; output goes to ``directory/logs/<name>.log``.
        command: program and arguments, without secrets, since every user of the machine can read them.
        directory: the cluster's directory, closed to other users.
        url: address at which the server will listen.
        ready: function that returns whether the server answers; called until it does.
        env: the server's whole environment; default: this process's.
        client_env: value of ``Service.env``.
        timeout: seconds to wait for ``ready``.
        umask: umask of the server; default: this process's.
        work_in: working directory of the server; default: this process's.

    Raises:
        StorageError: other users can write ``directory``.
        SpeechPromptError: the server ended, or did not answer in time and was stopped.
    """
    directory = private_directory(directory.absolute())
    log = private_directory(directory / "logs") / f"{name}.log"
    mark = secrets.token_hex(16)
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env={**(os.environ if env is None else env), MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=work_in,
            umask=umask,
        )
    service = Service(
        name=name,
        pid=process.pid,
        url=url,
        env=dict(client_env or {}),
        started=psutil.Process(process.pid).create_time(),
        mark=mark,
        process=process,
    )
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        if ready():
            return service
        time.sleep(POLL_SECONDS)
    ended = process.poll()
    service.stop()
    reason = f"ended with code {ended}" if ended is not None else f"did not answer within {timeout:.0f} s"
    raise SpeechPromptError(f"{name} {reason}; see {log}")


def accepts(host: str, port: int) -> bool:
    """Return whether something listens on a TCP port."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
