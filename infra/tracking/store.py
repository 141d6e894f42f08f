"""One MLflow store, spoken to with explicit run ids, in calls that may be repeated."""

from __future__ import annotations

import fcntl
import getpass
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra import object_storage
from infra.errors import MissingExtra, TrackingError
from infra.tracking.event import Event, Header

KEY_TAG = "speechprompt.key"
PARENT_KEY_TAG = "speechprompt.parent_key"
PARENT_TAG = "mlflow.parentRunId"
TABLES_TAG = "mlflow.loggedArtifacts"

ARTIFACTS = "mlartifacts"
"""Directory of files beside a SQLite file."""

# MLflow's REST limits: https://mlflow.org/docs/latest/api_reference/rest-api.html#log-batch
METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
TAGS_PER_CALL = 100
ENTITIES_PER_CALL = 1000

FOR_GOOD = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST"}
"""Error codes that the same request would meet again."""

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Makes the UI open on runs and their curves instead of traces."""

CLIENT_DEFAULTS = {
    # The sender retries by itself; MLflow's seven retries of two minutes each would hold it far too long.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # What MLflow would print when a run ends; standard output belongs to the command.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # The lines about database migrations at the first use of a SQLite file.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
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
    """An ``MlflowClient``; ``Any`` because MLflow is imported only when it is needed."""
    from mlflow import MlflowClient

    database = sqlite_path(uri)
    if database is not None and not database.exists():
        _make_database(database)
    return MlflowClient(tracking_uri=uri)


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


@dataclass
class Remote:
    """A run in the store, and what is known to be in it.

    Attributes:
        run_id: its id.
        status: its status, as MLflow spells it.
        steps: for each metric name that was looked up, the steps that have a value.
        fresh: made by this process, hence without any history to look up.
    """

    run_id: str
    status: str
    steps: dict[str, set[int]] = field(default_factory=dict)
    fresh: bool = False


class Store:
    """The calls tracking makes.

    Args:
        uri: MLflow tracking URI.
        root: directory whose lock keeps processes from making the same SQLite file side by side.
    """

    def __init__(self, uri: str, root: Path) -> None:
        self._uri = uri
        self._root = root
        self._connected: Any = None
        self._experiments: dict[str, str] = {}

    @property
    def _client(self) -> Any:
        if self._connected is None:
            with (self._root / "store.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._connected = client(self._uri)
        return self._connected

    def attach(self, header: Header, run_id: str | None) -> Remote:
        """Find the run by its id or its key, or make it."""
        from mlflow.exceptions import MlflowException

        if run_id is not None:
            try:
                info = self._client.get_run(run_id).info
                if info.lifecycle_stage == "active":
                    return Remote(run_id, info.status)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        experiment = self._experiment(header.experiment)
        if (found := self._find(experiment, header.key)) is not None:
            return Remote(found.info.run_id, found.info.status)
        tags = {
            KEY_TAG: quotable(header.key),
            "mlflow.source.name": "speechprompt",
            "mlflow.source.type": "JOB",
            "mlflow.user": getpass.getuser(),
        }
        if header.parent_key is not None:
            tags[PARENT_KEY_TAG] = header.parent_key
        run = self._client.create_run(experiment, tags=tags, run_name=header.name)
        return Remote(run.info.run_id, run.info.status, fresh=True)

    def link(self, remote: Remote, header: Header) -> bool:
        """Hang the run below its parent; false as long as nobody has made the parent."""
        if header.parent_key is None:
            return True
        parent = self._find(self._experiment(header.experiment), header.parent_key)
        if parent is None:
            return False
        self._client.set_tag(remote.run_id, PARENT_TAG, parent.info.run_id)
        return True

    def log(self, remote: Remote, events: Iterable[Event]) -> list[tuple[Any, str]]:
        """Send points, parameters and tags; a metric that has a value at a step keeps it.

        Returns:
            The entities that the store refused for good, each with the reason.
        """
        from mlflow.entities import Metric, Param, RunTag

        metrics: dict[tuple[str, int], Any] = {}
        params: dict[tuple[str, str], Any] = {}
        tags: dict[str, Any] = {}
        for event in events:
            for name, value in event.values.items():
                if event.kind == "point":
                    if event.step not in self._steps(remote, name):
                        metrics.setdefault((name, event.step), Metric(name, value, event.time, event.step))
                elif event.kind == "params":
                    params[name, value] = Param(name, value)
                else:
                    tags[name] = RunTag(name, value)
        if metrics and remote.status != "RUNNING":
            self._client.update_run(remote.run_id, status="RUNNING")
            remote.status = "RUNNING"
        refused: list[tuple[Any, str]] = []
        for batch in _batches(list(metrics.values()), list(params.values()), list(tags.values())):
            refused += self._send(remote.run_id, batch)
        for name, step in metrics:
            remote.steps[name].add(step)
        return refused

    def log_artifact(self, remote: Remote, content: Path, path: str) -> None:
        """Send a file, which replaces itself when sent again; the UI's evaluation view shows tables."""
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory(prefix="speechprompt-") as directory:
            # MLflow names an artifact after the local file.
            local = Path(directory) / name
            shutil.copyfile(content, local)
            self._client.log_artifact(remote.run_id, str(local), folder or None)
        if path.startswith("tables/"):
            entry = {"path": path, "type": "table"}
            tables = json.loads(self._client.get_run(remote.run_id).data.tags.get(TABLES_TAG, "[]"))
            if entry not in tables:
                self._client.set_tag(remote.run_id, TABLES_TAG, json.dumps([*tables, entry]))

    def terminate(self, remote: Remote, event: Event) -> None:
        """Set the final status and the time of it."""
        self._client.set_terminated(remote.run_id, status=event.status, end_time=event.time)
        remote.status = event.status

    def ping(self, remote: Remote) -> None:
        """Raise if the store does not answer."""
        self._client.get_run(remote.run_id)

    def _steps(self, remote: Remote, metric: str) -> set[int]:
        if metric not in remote.steps:
            history = [] if remote.fresh else self._client.get_metric_history(remote.run_id, metric)
            remote.steps[metric] = {point.step for point in history}
        return remote.steps[metric]

    def _send(self, run_id: str, batch: list[Any]) -> list[tuple[Any, str]]:
        """Send entities in one call; if refused, halve until the culprits stand alone."""
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        kinds = {kind: [entity for entity in batch if isinstance(entity, kind)] for kind in (Metric, Param, RunTag)}
        try:
            self._client.log_batch(
                run_id, metrics=kinds[Metric], params=kinds[Param], tags=kinds[RunTag], synchronous=True
            )
        except MlflowException as error:
            if error.error_code not in FOR_GOOD:
                raise
            if len(batch) == 1:
                return [(batch[0], str(error))]
            middle = len(batch) // 2
            return self._send(run_id, batch[:middle]) + self._send(run_id, batch[middle:])
        return []

    def _find(self, experiment: str, key: str) -> Any:
        runs = self._client.search_runs(
            [experiment],
            f"tags.`{KEY_TAG}` = '{quotable(key)}'",
            order_by=["attributes.start_time ASC"],
            max_results=1,
        )
        return runs[0] if runs else None

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


def quotable(key: str) -> str:
    """The key in a form that MLflow's filter language can hold between quotes."""
    return re.sub(r"[%'\"`\\]", lambda match: f"%{ord(match[0]):02X}", key)
