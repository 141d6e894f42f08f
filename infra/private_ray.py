"""Protection of a Ray from other users of its machine: it listens on loopback only, asks for a token, and keeps its
files in a private directory.

By itself Ray opens its directories to everybody, and lets anyone who reaches it run code.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from infra.private_directory import private_directory, write_private

HOST = "127.0.0.1"
"""Loopback address; also the node address of servers."""

PREFIX = "sp-"
"""Start of the name of a private directory; 8 random characters follow."""
SESSIONS = "ray"
"""Ray's temporary directory in a private one; Ray makes it writable by everybody."""

_NOT_SERVED = {
    # Ports without a token; set these variables to open them for scraping metrics.
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
}
OF_ANOTHER_CLUSTER = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Variables that point to another cluster; those of ``closed`` replace them."""


def closed(token_file: Path) -> dict[str, str]:
    """Make a token, and return the environment for servers and clients of a Ray that only its owner can use.

    Args:
        token_file: absolute path of the token, which is written again, readable only by its owner.

    Raises:
        OSError: it cannot be written.
    """
    write_private(token_file, secrets.token_hex(32))
    return {
        # Ray replaces 127.0.0.1 by the machine's external address, and with any other address it listens on all
        # interfaces. This switch, made for systems on which Ray supports only one machine, keeps it on loopback.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # If unset, a server may ask for a token that its clients do not send, or make one in the home directory.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
    }


def unserved() -> dict[str, str]:
    """Return further variables for servers, so that they open no unused ports."""
    return {name: value for name, value in _NOT_SERVED.items() if name not in os.environ}


def directory_for_ray(parent: Path) -> Path:
    """Make a private directory with a short name, to hold ``SESSIONS``.

    Raises:
        StorageError: other users could replace it.
        OSError: it cannot be made.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    # The umask may have removed the owner's permissions.
    made.chmod(0o700)
    return private_directory(made)
