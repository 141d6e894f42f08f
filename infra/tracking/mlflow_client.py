"""MLflow's client, made so that its calls end, it prints nothing, and a database is there whole or not at all."""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from infra import object_storage
from infra.errors import MissingExtra, TrackingError
from infra.tracking.faults import NOT_MLFLOW

ARTIFACTS = "mlartifacts"
"""Directory of files beside a SQLite file."""

_NO_RUN = "0" * 32
_importing = threading.Lock()

CLIENT_DEFAULTS = {
    # The sender retries by itself; MLflow's seven retries of two minutes each would hold it far too long.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # What MLflow would print when a run ends; standard output belongs to the command.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # What goes wrong is raised; MLflow would print it as well, with a traceback and the SQL.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
}
"""Set before MLflow is imported, where the user has not set them."""


def prepare_mlflow() -> None:
    """Make sure that MLflow is there, without paying for its import, and that its calls end in bounded time.

    Raises:
        MissingExtra: it is not installed.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise MissingExtra("mlflow", "train")
    for name, value in CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)


def client(uri: str) -> Any:
    """An ``MlflowClient``; ``Any`` because MLflow is imported only when it is needed.

    Other modules of MLflow may be imported once this has returned. Two threads that begin with different ones of its
    modules, which import each other, end in a deadlock that Python resolves by an error in one of them.
    """
    with _importing:
        from mlflow import MlflowClient

        from infra.tracking.bounded_http import bound_calls

        bound_calls()
        # Whoever imported MLflow earlier in this process did it before its variables were set.
        logging.getLogger("mlflow").setLevel(os.environ.get("MLFLOW_LOGGING_LEVEL", "WARNING"))
        database = sqlite_path(uri)
        if database is not None:
            # A connection that is kept would go on writing to a file which another one has replaced.
            os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
            if not database.exists():
                _make_database(database)
        # Imports the modules of this kind of store.
        return MlflowClient(tracking_uri=uri)


def require_mlflow(store: Any) -> None:
    """Ask what no other service has an answer to; ``{}`` is how MLflow says "nothing", or "done".

    Raises:
        TrackingError: it is something else.
        MlflowException: it says something else.
    """
    from mlflow.exceptions import MlflowException

    try:
        store.get_run(_NO_RUN)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return
        raise
    raise TrackingError(NOT_MLFLOW)


def _make_database(database: Path) -> None:
    """Make the tables elsewhere and put the file in its place whole.

    MLflow takes seconds for it, and a process that is killed meanwhile would leave a file that no later one can use.
    """
    from mlflow import MlflowClient

    database.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=database.parent) as directory:
        made = Path(directory) / "mlflow.db"
        MlflowClient(tracking_uri=f"sqlite:///{made}").search_experiments(max_results=1)
        # A copy, since MLflow keeps the other file open; whoever comes first is right.
        object_storage.write_if_absent(str(database), made.read_bytes())


def sqlite_path(uri: str) -> Path | None:
    """The file of a ``sqlite:///`` URI; none for any other store."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None
