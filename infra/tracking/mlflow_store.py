"""Runs in MLflow, spoken to with explicit run ids, in calls that may be repeated."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from infra.errors import TrackingError
from infra.tracking.check import check
from infra.tracking.event import Header, Logged, Params, Point, Status, Tags
from infra.tracking.faults import NOT_MLFLOW, damaged, shown, try_database
from infra.tracking.left_runs import KEY_TAG, PARENT_KEY_TAG, end_left_runs, quotable
from infra.tracking.mlflow_client import ARTIFACTS, client, prepare_mlflow, sqlite_path
from infra.tracking.spool_file import open_own
from infra.tracking.store import Remote

PARENT_TAG = "mlflow.parentRunId"
TABLES_TAG = "mlflow.loggedArtifacts"

# MLflow's REST limits: https://mlflow.org/docs/latest/api_reference/rest-api.html#log-batch
METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
TAGS_PER_CALL = 100
ENTITIES_PER_CALL = 1000

REFUSAL = "INVALID_PARAMETER_VALUE"
"""What MLflow says of what it can never take; all else it also says when its database is unwell."""

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Makes the UI open on runs and their curves instead of traces."""


class MLflowStore:
    """An MLflow store, as `Store` says.

    Args:
        uri: MLflow tracking URI.
        root: directory whose lock keeps processes from making the same SQLite file side by side.
    """

    tracker: ClassVar[str] = "MLflow"

    @staticmethod
    def prepare() -> None:
        """MLflow's client."""
        prepare_mlflow()

    @staticmethod
    def check(uri: str, *, experiment: str | None = None) -> None:
        """In at most 20 seconds; a SQLite file that does not exist yet is not made."""
        check(uri, experiment=experiment)

    @staticmethod
    def end_left_runs(uri: str, experiment: str, keys: Collection[str]) -> int:
        """In at most 60 seconds."""
        return end_left_runs(uri, experiment, keys)

    @staticmethod
    def reason(error: Exception) -> str:
        """The system's own word where nothing better is known."""
        return shown(error)

    @staticmethod
    def lost_data(error: Exception) -> bool:
        """Of a database file that is none any more."""
        return damaged(error)

    def __init__(self, uri: str, root: Path) -> None:
        self._uri = uri
        self._root = root
        self._connected: Any = None
        self._experiments: dict[str, str] = {}

    @property
    def _client(self) -> Any:
        if self._connected is None:
            with os.fdopen(open_own(self._root / "store.lock", os.O_WRONLY | os.O_CREAT), "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                database = sqlite_path(self._uri)
                if database is not None and database.exists():
                    try_database(database)
                self._connected = client(self._uri)
        return self._connected

    def attach(self, header: Header, run_id: str | None) -> Remote:
        """Find the run by its id or its key, or make it."""
        store = self._client
        from mlflow.exceptions import MlflowException

        if run_id is not None:
            try:
                info = store.get_run(run_id).info
                if info.run_id != run_id:
                    raise TrackingError(NOT_MLFLOW)
                if info.lifecycle_stage == "active":
                    return Remote(header, run_id, info.status)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                self._experiments.clear()
        experiment = self._experiment(header.experiment)
        if found := self._runs(experiment, header.key):
            return Remote(header, found[0].info.run_id, found[0].info.status)
        tags = {
            KEY_TAG: quotable(header.key),
            "mlflow.source.name": "speechprompt",
            "mlflow.source.type": "JOB",
            "mlflow.user": _user(),
        }
        if header.parent_key is not None:
            tags[PARENT_KEY_TAG] = header.parent_key
        run = self._client.create_run(experiment, tags=tags, run_name=header.name)
        if not run.info.run_id:
            raise TrackingError(NOT_MLFLOW)
        return Remote(header, run.info.run_id, run.info.status, fresh=True)

    def link(self, remote: Remote) -> bool:
        """Hang the run below its parent; false as long as nobody has made the parent."""
        header = remote.header
        if header.parent_key is None:
            return True
        parents = self._runs(self._experiment(header.experiment), header.parent_key)
        if not parents:
            return False
        self._client.set_tag(remote.run_id, PARENT_TAG, parents[0].info.run_id)
        self.confirm(remote)
        return True

    def log(self, remote: Remote, events: Sequence[Logged]) -> list[tuple[str, str]]:
        """Send points, parameters and tags."""
        from mlflow.entities import Metric, Param, RunTag

        metrics: dict[tuple[str, int], Any] = {}
        params: dict[tuple[str, Any], Any] = {}
        tags: dict[str, Any] = {}
        for event in events:
            match event:
                case Point(step, values, time):
                    for name, number in values.items():
                        if step not in self._steps(remote, name):
                            metrics.setdefault((name, step), Metric(name, float(number), time, step))
                case Params(texts):
                    params |= {(name, text): Param(name, text) for name, text in texts.items()}
                case Tags(texts):
                    tags |= {name: RunTag(name, text) for name, text in texts.items()}
        if metrics and remote.status != "RUNNING":
            self._client.update_run(remote.run_id, status="RUNNING")
            remote.status = "RUNNING"
        refused: list[tuple[str, str]] = []
        for batch in _batches(list(metrics.values()), list(params.values()), list(tags.values())):
            refused += self._send(remote, batch)
        self.confirm(remote)
        for name, step in metrics:
            remote.steps[name].add(step)
        return refused

    def log_artifact(self, remote: Remote, local: Path, path: str) -> None:
        """Send a file, which replaces itself when sent again; the UI's evaluation view shows tables.

        Args:
            remote: the run.
            local: the file; of the same name as the artifact.
            path: the artifact's.
        """
        self._client.log_artifact(remote.run_id, str(local), path.rpartition("/")[0] or None)
        if path.startswith("tables/"):
            entry = {"path": path, "type": "table"}
            tables = json.loads(self._client.get_run(remote.run_id).data.tags.get(TABLES_TAG, "[]"))
            if entry not in tables:
                self._client.set_tag(remote.run_id, TABLES_TAG, json.dumps([*tables, entry]))
        self.confirm(remote)

    def terminate(self, remote: Remote, event: Status) -> None:
        """Set the final status and the time of it."""
        self._remove_twins(remote)
        self._client.set_terminated(remote.run_id, status=event.status, end_time=event.time)
        self.confirm(remote)
        remote.status = event.status

    def confirm(self, remote: Remote) -> None:
        """Raise unless the store answers and has the run.

        MLflow says of what it has written no more than ``{}``, as many a server says of anything.
        """
        info = self._client.get_run(remote.run_id).info
        if info.run_id != remote.run_id:
            raise TrackingError(NOT_MLFLOW)
        if info.lifecycle_stage != "active":
            raise TrackingError(f"run {remote.header.name} was deleted meanwhile")

    def _remove_twins(self, remote: Remote) -> None:
        """Delete the empty runs of the same key, which calls made that were given up and came through all the same."""
        for run in self._runs(self._experiment(remote.header.experiment), remote.header.key):
            if run.info.run_id != remote.run_id and _empty(run):
                self._client.delete_run(run.info.run_id)

    def _steps(self, remote: Remote, metric: str) -> set[int]:
        if metric not in remote.steps:
            history = [] if remote.fresh else self._client.get_metric_history(remote.run_id, metric)
            remote.steps[metric] = {point.step for point in history}
        return remote.steps[metric]

    def _send(self, remote: Remote, batch: list[Any], *, well: bool = False) -> list[tuple[str, str]]:
        """Send entities in one call; if refused, halve until the culprits stand alone before a store that is well."""
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        kinds = {kind: [entity for entity in batch if isinstance(entity, kind)] for kind in (Metric, Param, RunTag)}
        try:
            self._client.log_batch(
                remote.run_id, metrics=kinds[Metric], params=kinds[Param], tags=kinds[RunTag], synchronous=True
            )
        except MlflowException as error:
            if error.error_code != REFUSAL:
                raise
            if len(batch) > 1:
                middle = len(batch) // 2
                return self._send(remote, batch[:middle]) + self._send(remote, batch[middle:])
            if not well:
                # Any run takes the key it has.
                self._client.set_tag(remote.run_id, KEY_TAG, quotable(remote.header.key))
                self.confirm(remote)
                return self._send(remote, batch, well=True)
            return [(repr(dict(batch[0])), str(error))]
        return []

    def _runs(self, experiment: str, key: str) -> list[Any]:
        """The runs of a key, of which the first counts: the oldest of those that hold anything, if one does."""
        found = self._client.search_runs(
            [experiment],
            f"tags.`{KEY_TAG}` = '{quotable(key)}'",
            order_by=["attributes.start_time ASC"],
            max_results=10,
        )
        return sorted(found, key=_empty)

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        if name in self._experiments:
            return self._experiments[name]
        found = self._client.get_experiment_by_name(name)
        if found is None:
            database = sqlite_path(self._uri)
            # MLflow's own default lies below whatever directory the process runs in.
            location = (database.parent / ARTIFACTS).as_uri() if database is not None else None
            try:
                self._client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self._client.get_experiment_by_name(name)
        if found is None or found.name != name:
            raise TrackingError(NOT_MLFLOW)
        if found.lifecycle_stage != "active":
            raise TrackingError(f"MLflow experiment {name} is deleted; restore it, or rename the job")
        self._experiments[name] = found.experiment_id
        return self._experiments[name]


def _batches(metrics: Sequence[Any], params: Sequence[Any], tags: Sequence[Any]) -> Iterator[list[Any]]:
    """Lists of entities that fit one call each, in order."""
    while metrics or params or tags:
        head = [*params[:PARAMS_PER_CALL], *tags[:TAGS_PER_CALL]]
        room = min(METRICS_PER_CALL, ENTITIES_PER_CALL - len(head))
        yield [*head, *metrics[:room]]
        metrics, params, tags = metrics[room:], params[PARAMS_PER_CALL:], tags[TAGS_PER_CALL:]


def _empty(run: Any) -> bool:
    return not run.data.params and not run.data.metrics


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        return str(os.getuid())
