"""An MLflow tracking server on loopback, backed by SQLite."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from infra.local_cluster.service import Service, launch

HOST = "127.0.0.1"


def start_mlflow_server(
    directory: Path,
    *,
    port: int,
    artifacts: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Service:
    """Start the server and wait until it answers.

    Clients send artifacts through the server, so they need no credentials of the artifact store.

    Args:
        directory: the cluster's directory; the database is ``mlflow/mlflow.db`` in it.
        port: TCP port on loopback.
        artifacts: where artifacts go, ``s3://bucket/prefix`` or a directory; default: ``mlflow/artifacts``.
        env: added to this process's environment, such as the S3 credentials for ``artifacts``.

    Raises:
        SpeechPromptError: the server did not come up; the message names its log.
    """
    home = directory / "mlflow"
    home.mkdir(parents=True, exist_ok=True)
    url = f"http://{HOST}:{port}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += ["--backend-store-uri", f"sqlite:///{home.absolute() / 'mlflow.db'}"]
    command += ["--artifacts-destination", artifacts or str(home.absolute() / "artifacts")]
    return launch(
        "mlflow",
        command,
        directory=directory,
        url=url,
        ready=lambda: _healthy(url),
        env={
            **os.environ,
            **(env or {}),
            # Without these the server starts a dozen helper processes, and calls home.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        client_env={"MLFLOW_TRACKING_URI": url},
        timeout=120.0,
    )


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2.0) as answer:  # noqa: S310 - always http, on loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
