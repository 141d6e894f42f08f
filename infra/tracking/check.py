"""Whether a tracking URI can be used, asked before anything is started."""

from __future__ import annotations

import os
from pathlib import Path

from infra.errors import TrackingError, TrackingUnreachable
from infra.redaction import redacted
from infra.tracking.faults import may_pass, reason_and_remedy, try_database
from infra.tracking.mlflow_client import ARTIFACTS, client, prepare_mlflow, require_mlflow, sqlite_path

CHECK_SECONDS = 20.0
"""For which somebody waits."""


def check(uri: str, *, experiment: str | None = None) -> None:
    """Ask the store at ``uri`` whether it serves; a SQLite file that does not exist yet is not made.

    Args:
        uri: MLflow tracking URI.
        experiment: also ask whether this experiment can be written: it may be absent, but not deleted.

    Raises:
        TrackingUnreachable: it does not answer now, and may later.
        TrackingError: it cannot be used; the message says why, without credentials.
        MissingExtra: MLflow is not installed.
    """
    prepare_mlflow()
    if ("://" not in uri and not uri.startswith("databricks")) or uri.startswith("file:"):
        raise TrackingError(
            f"tracking {redacted(uri)}: MLflow no longer keeps runs in plain directories; "
            "use sqlite:////absolute/mlflow.db or http(s)://host:port"
        )
    database = sqlite_path(uri)
    if database is not None:
        require_writable(database.parent, uri)
        require_writable(database.parent / ARTIFACTS, uri)
        if not database.exists():
            return
    try:
        if database is not None:
            try_database(database)
        # Not loaded before it is known that MLflow, and with it this, is installed.
        from infra.tracking.bounded_http import at_most

        with at_most(CHECK_SECONDS):
            store = client(uri)
            require_mlflow(store)
            found = store.get_experiment_by_name(experiment) if experiment is not None else None
    # MLflow passes on what its HTTP client, its database driver and their plug-ins raise.
    except Exception as error:  # noqa: BLE001
        kind = TrackingUnreachable if may_pass(error) else TrackingError
        reason, remedy = reason_and_remedy(error)
        raise kind(f"tracking {redacted(uri)} cannot be used ({reason}); {remedy}") from None
    if found is not None and found.lifecycle_stage != "active":
        raise TrackingError(
            f"tracking {redacted(uri)}: experiment {experiment} is deleted; restore it by 'mlflow experiments restore "
            f"--experiment-id {found.experiment_id}', or rename the job"
        )


def require_writable(directory: Path, uri: str) -> None:
    """Refuse a place in which nothing can be made; it need not exist.

    Raises:
        TrackingError: what is in the way.
    """
    there = next(place for place in (directory, *directory.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise TrackingError(f"tracking {uri}: {there} is not a directory one can write to; name another")
