"""Whether a tracking URI can be used, asked before anything is started."""

from __future__ import annotations

import os
import re
from pathlib import Path

from infra.errors import TrackingError, TrackingUnreachable
from infra.redaction import redacted
from infra.tracking.store import client, prepare_mlflow, sqlite_path


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
    if "://" not in uri or uri.startswith("file:"):
        raise TrackingError(
            f"tracking {redacted(uri)}: MLflow no longer keeps runs in plain directories; "
            "use sqlite:////absolute/mlflow.db or http(s)://host:port"
        )
    database = sqlite_path(uri)
    if database is not None and not database.exists():
        _check_can_be_made(database)
        return
    try:
        store = client(uri)
        found = store.get_experiment_by_name(experiment) if experiment is not None else None
        store.search_experiments(max_results=1)
    # MLflow passes on what its HTTP client, its database driver and their plug-ins raise.
    except Exception as error:  # noqa: BLE001
        kind = TrackingUnreachable if uri.startswith("http") and _may_pass(error) else TrackingError
        raise kind(
            f"tracking {redacted(uri)} cannot be used ({redacted(_reason(error))}); start the server or correct the URI"
        ) from None
    if found is not None and found.lifecycle_stage != "active":
        raise TrackingError(
            f"tracking {redacted(uri)}: experiment {experiment} is deleted; restore it or rename the job"
        )


def _may_pass(error: Exception) -> bool:
    """Whether there was no answer, or one of a server that is not well; MLflow tells by its texts alone."""
    text = str(error)
    return (
        "certificate" not in text and re.search(r"failed with (timeout )?exception|error code 5\d\d", text) is not None
    )


def _reason(error: Exception) -> str:
    """The system's own word where there is one, such as "Connection refused"; else the first line of what was said: an
    HTTP client wraps its cause in all it tried, a database's message goes on with its statement."""
    said = re.search(r"\[Errno -?\d+\] ([\w ]+)", str(error))
    return said[1] if said else next(iter(str(error).splitlines()), type(error).__name__)


def _check_can_be_made(database: Path) -> None:
    ancestor = next(parent for parent in database.parents if parent.exists())
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
        raise TrackingError(
            f"tracking sqlite:///{database}: {ancestor} is not a directory one can write to; name another"
        )
