"""Checks before Ray starts: its directory, its address and the settings in the environment."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from infra.errors import Problem, RayFailed
from infra.private_ray import PREFIX, SESSIONS

SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
"""Longest path of a Unix socket: https://man7.org/linux/man-pages/man7/unix.7.html"""
LONGEST_SOCKET = f"{PREFIX}12345678/{SESSIONS}/session_2026-01-01_00-00-00_000000_{{pid}}/sockets/plasma_store"
"""Longest path of a socket below the temporary directory."""
USUAL = "/tmp"  # noqa: S108
FREE_DISK = 64 << 20
"""Bytes that Ray's processes need for logs and sockets."""
ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):(?P<port>[0-9]{1,5})")
PLAIN = re.compile(r"[-+]?[0-9]*\.?[0-9]*(e[-+]?[0-9]+)?|true|false", re.IGNORECASE)
PROBE_SECONDS = 60
CONNECT_SECONDS = 5


def cluster_address() -> str | None:
    """Return the address in RAY_ADDRESS; ``None`` for a local Ray."""
    address = os.environ.get("RAY_ADDRESS", "").strip()
    return None if address in ("", "local") else address


def ray_problems() -> list[Problem]:
    """Return why Ray cannot start here or join the cluster at RAY_ADDRESS, without contacting the cluster."""
    address = cluster_address()
    found = _unfit(*place_for_ray()) if address is None else _address(address)
    return [*found, *_settings()]


def require_answer(address: str) -> None:
    """Refuse a cluster that does not answer; ``auto`` is the one started last on this machine.

    Raises:
        RayFailed: nothing listens at the address.
    """
    if address == "auto":
        noted = Path(temporary_directory(), "ray", "ray_current_cluster")
        address = noted.read_text().strip() if noted.is_file() else ""
    if reason := silence(address):
        raise RayFailed(
            f"RAY_ADDRESS: no Ray cluster answers at {address} ({reason}); start it, or unset RAY_ADDRESS to run here"
        )


def silence(address: str) -> str:
    """Return why nothing answers at ``host:port``, empty if something does; Ray itself would try for minutes."""
    found = ADDRESS.fullmatch(address)
    if found is None:
        return ""
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    return ""


def temporary_directory() -> str:
    """Return the directory below which Ray notes the cluster started last."""
    variables = ["RAY_TMPDIR", "TMPDIR"] if sys.platform == "linux" else ["RAY_TMPDIR"]
    return next((os.environ[name] for name in variables if name in os.environ), USUAL)


def place_for_ray() -> tuple[str, str]:
    """Return the directory for the files of a local Ray, and the variable that names it.

    If TMPDIR is not fit for Ray's files, for example because it is too long, they go to /tmp.
    """
    if "RAY_TMPDIR" in os.environ:
        return "RAY_TMPDIR", os.environ["RAY_TMPDIR"]
    asked = os.environ.get("TMPDIR")
    return ("RAY_TMPDIR", USUAL) if asked is None or _unfit("TMPDIR", asked) else ("TMPDIR", asked)


def _unfit(variable: str, directory: str) -> list[Problem]:
    remedy = "set RAY_TMPDIR to a short path of a directory that can be written, such as /tmp"
    if not Path(directory).is_absolute():
        return [Problem(variable, "", f"{directory!r} is not an absolute path, which Ray needs", remedy)]
    longest = len(os.fsencode(str(Path(directory, LONGEST_SOCKET.format(pid=_highest_pid())))))
    if longest > SOCKET_BYTES:
        message = f"{directory} is {longest - SOCKET_BYTES} bytes too long for the sockets that Ray makes in it"
        return [Problem(variable, "", message, remedy)]
    there = next(place for place in (Path(directory), *Path(directory).parents) if place.exists())
    disk = shutil.disk_usage(there)
    # /proc and the like have no disk, though os.access lets root write everywhere.
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK) or not disk.total:
        return [Problem(variable, "", f"Ray cannot write its files to {directory}: {there} cannot be written", remedy)]
    if disk.free < FREE_DISK:
        left, needed = disk.free >> 20, FREE_DISK >> 20
        message = f"the disk of {directory} is full: {left} MiB are free, but Ray needs {needed}"
        return [Problem(variable, "", message, f"make room there, or {remedy}")]
    return []


def _highest_pid() -> str:
    """Return the highest process ID, so that a message does not depend on the process."""
    try:
        return Path("/proc/sys/kernel/pid_max").read_text().strip()
    except OSError:
        return "99999"


def _address(address: str) -> list[Problem]:
    if address == "auto":
        return []
    scheme, separator, _ = address.partition("://")
    if separator and scheme in ("http", "https"):
        message = f"{address} is the address of a dashboard, to which jobs are submitted"
        return [Problem("RAY_ADDRESS", "", message, "use 'speechprompt submit', or write the cluster's host:6379")]
    if separator and scheme == "ray":
        message = f"{address} is for Ray Client, which Ray Tune and Ray Train do not support"
        return [Problem("RAY_ADDRESS", "", message, "use 'speechprompt submit', or write the cluster's host:6379")]
    found = ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 1 << 16:
        remedy = "write host:port, such as 10.0.0.1:6379, or unset it to run here"
        return [Problem("RAY_ADDRESS", "", f"{address!r} is not the address of a Ray cluster", remedy)]
    return []


def _settings() -> list[Problem]:
    """Try doubtful settings in another process: importing Ray with a setting that is not a number ends the process."""
    odd = {
        name: value for name, value in os.environ.items() if re.match(r"RAY_[a-z]", name) and not PLAIN.fullmatch(value)
    }
    if not odd:
        return []
    probe = [sys.executable, "-c", "import ray"]
    try:
        survived = subprocess.run(probe, capture_output=True, timeout=PROBE_SECONDS, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        survived = True
    if survived:
        return []
    shown = ", ".join(f"{name}={value!r}" for name, value in sorted(odd.items()))
    return [Problem(shown, "", "Ray cannot start with this setting", "correct it, or unset it")]
