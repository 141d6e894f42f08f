"""A Ray head on loopback, with token authentication and its own session directory."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from infra.errors import SpeechPromptError
from infra.local_cluster.service import Service, accepts, free_port, launch
from infra.private_directory import private_directory
from infra.private_ray import HOST, OF_ANOTHER_CLUSTER, SESSIONS, closed, unserved

LONGEST_TEMPORARY_DIRECTORY = 40
"""Most characters. Ray's sockets are about 65 characters deeper, and a socket's path has at most 107 bytes."""


def start_ray_head(
    directory: Path,
    *,
    port: int,
    dashboard_port: int,
    temporary: Path,
    cpus: int | None = None,
    env: Mapping[str, str] | None = None,
) -> Service:
    """Start the head and wait until it accepts jobs.

    Args:
        directory: the cluster's directory; the token is ``ray_token`` in it, readable only by its owner.
        port: TCP port for drivers.
        dashboard_port: TCP port for the dashboard and for jobs.
        temporary: directory for Ray's sessions, with a short path; closed to other users.
        cpus: logical CPUs; default: all of the machine's.
        env: variables added to this process's environment. All processes of the cluster have them, so that jobs need
            no credentials.

    Raises:
        SpeechPromptError: ``temporary`` is too long, other users can write a directory, or the head did not start; the
            message names its log.
    """
    if len(str(temporary)) > LONGEST_TEMPORARY_DIRECTORY:
        raise SpeechPromptError(
            f"{temporary}: Ray's sockets need a path of at most {LONGEST_TEMPORARY_DIRECTORY} characters"
        )
    # Ray's directories in it, which hold the code of jobs, are open to everybody.
    private_directory(temporary)
    token_file = private_directory(directory.absolute()) / "ray_token"
    both_sides = closed(token_file)
    token = token_file.read_text(encoding="utf-8")
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
    command += [f"--node-ip-address={HOST}", f"--port={port}", f"--temp-dir={temporary / SESSIONS}"]
    command += [f"--dashboard-host={HOST}", f"--dashboard-port={dashboard_port}"]
    # The default ports are fixed and would collide with another Ray or the other services.
    command += ["--min-worker-port=0", "--max-worker-port=0"]
    inner = ("dashboard-agent-listen-port", "ray-client-server-port", "metrics-export-port")
    command += [f"--{name}={free_port(HOST)}" for name in inner]
    if cpus is not None:
        command.append(f"--num-cpus={cpus}")
    inherited = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER_CLUSTER}
    # A job's entry point is a shell command, whose `python` must be this one even if its environment is not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
    return launch(
        "ray",
        command,
        directory=directory,
        url=url,
        ready=lambda: accepts(HOST, port) and _has_a_node(url, token),
        env={**inherited, "PATH": path, **(env or {}), **unserved(), **both_sides},
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
