"""A Ray head on loopback, with token authentication and a session directory of its own."""

from __future__ import annotations

import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from infra.errors import SpeechPromptError
from infra.local_cluster.service import Service, accepts, free_port, launch, write_private

HOST = "127.0.0.1"

# Ray replaces 127.0.0.1 by the machine's outward address, and with any other one it listens on all interfaces. This
# switch, made for systems where Ray is meant for one machine, keeps servers and clients on loopback.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

LONGEST_TEMPORARY_DIRECTORY = 40
"""Characters. Ray puts sockets about 65 characters deeper, and a socket's path is limited to 107 bytes."""

OF_ANOTHER_CLUSTER = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Variables that would lead the head, or a job in it, elsewhere."""


def start_ray_head(
    directory: Path,
    *,
    port: int,
    dashboard_port: int,
    temporary: Path,
    cpus: int | None = None,
    env: Mapping[str, str] | None = None,
) -> Service:
    """Start the head and wait until it takes jobs.

    Args:
        directory: the cluster's directory; the token is ``ray_token`` in it, readable by its owner alone.
        port: TCP port for drivers.
        dashboard_port: TCP port for the dashboard and for jobs.
        temporary: directory for Ray's sessions, with a short path.
        cpus: logical CPUs; default: as many as the machine has.
        env: added to this process's environment. Whatever runs in the cluster has it, so a job's description
            need not hold a credential.

    Raises:
        SpeechPromptError: ``temporary`` is too long, or the head did not come up; the message names its log.
    """
    if len(str(temporary)) > LONGEST_TEMPORARY_DIRECTORY:
        raise SpeechPromptError(
            f"{temporary}: Ray's sockets need a path of at most {LONGEST_TEMPORARY_DIRECTORY} characters"
        )
    token = secrets.token_hex(32)
    token_file = directory.absolute() / "ray_token"
    directory.mkdir(parents=True, exist_ok=True)
    write_private(token_file, token)
    both_sides = {
        **LOOPBACK_ONLY,
        # Left unset, a server may ask for a token that its clients do not send.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
    }
    url = f"http://{HOST}:{dashboard_port}"
    command = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        "--disable-usage-stats",
    ]
    command += [f"--node-ip-address={HOST}", f"--port={port}", f"--temp-dir={temporary}"]
    command += [f"--dashboard-host={HOST}", f"--dashboard-port={dashboard_port}"]
    # Fixed by default, and then in the way of any other Ray on the machine, or of the other services.
    command += ["--min-worker-port=0", "--max-worker-port=0"]
    inner = ("dashboard-agent-listen-port", "ray-client-server-port", "metrics-export-port")
    command += [f"--{name}={free_port(HOST)}" for name in inner]
    if cpus is not None:
        command.append(f"--num-cpus={cpus}")
    inherited = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER_CLUSTER}
    # The entry point of a job is a shell command: its `python` shall be this one, whether or not its environment is
    # activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
    return launch(
        "ray",
        command,
        directory=directory,
        url=url,
        ready=lambda: accepts(HOST, port) and _has_a_node(url, token),
        env={**inherited, "PATH": path, **(env or {}), **both_sides},
        client_env={"RAY_ADDRESS": f"{HOST}:{port}", "RAY_API_SERVER_ADDRESS": url, **both_sides},
        timeout=120.0,
    )


def _has_a_node(url: str, token: str) -> bool:
    request = urllib.request.Request(  # noqa: S310
        f"{url}/nodes?view=summary", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5.0) as answer:  # noqa: S310 - always http, on loopback
            nodes = json.load(answer)["data"]["summary"]
    except (urllib.error.URLError, OSError, ValueError):
        return False
    return any(node.get("raylet", {}).get("state") == "ALIVE" for node in nodes)
