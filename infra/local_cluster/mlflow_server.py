"""An MLflow tracking server on loopback, backed by SQLite, with an optional password."""

from __future__ import annotations

import configparser
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from infra.errors import MissingExtra, SpeechPromptError
from infra.local_cluster.service import Service, launch
from infra.private_directory import private_directory, write_private

HOST = "127.0.0.1"
USER = "admin"
_CACHE_SECONDS = 600
"""Time for which a checked password is cached, since hashing takes longer than most requests."""


def start_mlflow_server(
    directory: Path,
    *,
    port: int,
    artifacts: str | None = None,
    env: Mapping[str, str] | None = None,
    authenticated: bool = False,
) -> Service:
    """Start the server and wait until it answers.

    Clients send artifacts through the server, so they need no credentials for the artifact store.

    Args:
        directory: the cluster's directory; the database is ``mlflow/mlflow.db`` in it.
        port: TCP port on loopback.
        artifacts: artifact store, ``s3://bucket/prefix`` or a directory; default: ``mlflow/artifacts``.
        env: variables added to this process's environment, such as S3 credentials for ``artifacts``.
        authenticated: whether every request needs the user and password that the service's ``env`` holds. They are
            generated once and kept in ``mlflow/auth.ini``, readable only by its owner, since the users' database
            outlives the server.

    Raises:
        MissingExtra: passwords need ``flask-wtf``, which is not installed.
        SpeechPromptError: the server did not start; the message names its log.
    """
    home = private_directory(directory.absolute() / "mlflow")
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
    command += ["--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"]
    command += ["--artifacts-destination", artifacts or str(home / "artifacts")]
    asked, known = _authentication(home) if authenticated else ({}, {})
    if authenticated:
        command += ["--app-name", "basic-auth"]
    return launch(
        "mlflow",
        command,
        directory=directory,
        url=url,
        ready=lambda: _healthy(url),
        env={
            **os.environ,
            **(env or {}),
            **asked,
            # Otherwise the server starts a dozen helper processes and sends telemetry.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        client_env={"MLFLOW_TRACKING_URI": url, **known},
        timeout=120.0,
        umask=0o077,
    )


def _authentication(home: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the environment of the server, to ask for a password, and that of its clients, to know it."""
    if find_spec("flask_wtf") is None:
        raise MissingExtra("flask-wtf", "cluster")
    settings = home / "auth.ini"
    password = _password(settings) if settings.exists() else secrets.token_hex(24)
    lines = {
        "default_permission": "NO_PERMISSIONS",
        "database_uri": f"sqlite:///{home / 'auth.db'}",
        "admin_username": USER,
        "admin_password": password,
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": str(_CACHE_SECONDS),
    }
    write_private(settings, "[mlflow]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items()))
    server = {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings.absolute()),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }
    return server, {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": password}


def _password(settings: Path) -> str:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(settings, encoding="utf-8")
        return parser["mlflow"]["admin_password"]
    except (configparser.Error, KeyError, UnicodeDecodeError):
        # Neither message nor cause may quote the file.
        raise SpeechPromptError(f"{settings}: damaged; remove it and auth.db beside it, and start again") from None


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2.0) as answer:  # noqa: S310 - always http, on loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
