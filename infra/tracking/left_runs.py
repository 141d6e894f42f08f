"""Runs that MLflow holds to be running though whoever wrote them was killed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from infra.errors import TrackingUnreachable
from infra.redaction import redacted
from infra.tracking.faults import shown
from infra.tracking.mlflow_client import client, prepare_mlflow

KEY_TAG = "speechprompt.key"
PARENT_KEY_TAG = "speechprompt.parent_key"
PAGE = 1000
END_SECONDS = 60.0
"""For which a command that is done waits for it; the next one goes on."""


def end_left_runs(uri: str, experiment: str, keys: Collection[str]) -> int:
    """Set runs that nobody goes on with to KILLED: those of these keys, and those below them.

    Args:
        uri: MLflow tracking URI.
        experiment: name of it.
        keys: of runs that have ended.

    Returns:
        How many were still said to be running.

    Raises:
        MissingExtra: MLflow is not installed.
        TrackingUnreachable: it cannot be asked now.
    """
    prepare_mlflow()
    try:
        # Not loaded before it is known that MLflow, and with it this, is installed.
        from infra.tracking.bounded_http import at_most

        with at_most(END_SECONDS):
            store = client(uri)
            found = store.get_experiment_by_name(experiment)
            left = [] if found is None else list(_running(store, found.experiment_id, keys))
            for run_id in left:
                store.set_terminated(run_id, status="KILLED")
    # MLflow passes on whatever its database, its server and the network raise.
    except Exception as error:
        raise TrackingUnreachable(f"MLflow at {redacted(uri)} cannot be used ({shown(error)})") from error
    return len(left)


def quotable(key: str) -> str:
    """The key in a form that MLflow's filter language can hold between quotes."""
    return re.sub(r"[%'\"`\\]", lambda match: f"%{ord(match[0]):02X}", key)


def _running(store: Any, experiment_id: str, keys: Collection[str]) -> Iterator[str]:
    own = {quotable(key) for key in keys}
    token: str | None = None
    while True:
        page = store.search_runs([experiment_id], "attributes.status = 'RUNNING'", max_results=PAGE, page_token=token)
        for run in page:
            if run.data.tags.get(KEY_TAG) in own or run.data.tags.get(PARENT_KEY_TAG) in keys:
                yield run.info.run_id
        token = page.token
        if not token:
            return
