"""What keeps a Ray from the other users of its machine: it listens on loopback alone, asks for a token, and keeps its
files where nobody else can enter.

Ray itself opens its directories to everybody, and lets whoever reaches it run code.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

from infra.private_directory import private_directory, write_private

HOST = "127.0.0.1"
"""Also to be given to servers as the address of their node."""

PREFIX = "sp-"
"""Of the name of a private directory, of which 8 random characters are the rest."""
SESSIONS = "ray"
"""Ray's temporary directory, below a private one: it makes its own writable by everybody, whoever made it."""

OF_ANOTHER_CLUSTER = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Variables that would lead servers, clients or a job elsewhere; those of ``closed`` come in their place."""


def closed(token_file: Path) -> dict[str, str]:
    """Make a token, and say what servers and clients of a Ray that only its owner can use need in their environment.

    Args:
        token_file: absolute; written anew, readable by its owner alone.

    Raises:
        OSError: it cannot be written.
    """
    write_private(token_file, secrets.token_hex(32))
    return {
        # Ray replaces 127.0.0.1 by the machine's outward address, and with any other one it listens on all
        # interfaces. This switch, made for systems where Ray is meant for one machine, keeps everything on loopback.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # Left unset, a server may ask for a token that its clients do not send, or make one in the home directory.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
    }


def directory_for_ray(parent: Path) -> Path:
    """Make a private directory with a short name, for ``SESSIONS`` to lie in.

    Raises:
        StorageError: others could replace it.
        OSError: it cannot be made.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    # Whatever the umask took from its owner.
    made.chmod(0o700)
    return private_directory(made)
