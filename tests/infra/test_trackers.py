"""Every registered tracker takes a whole run, also by halves; so does one that is registered here, in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

from infra.errors import TrackingError
from infra.tracking import Tracking, check, end_left_runs
from infra.tracking.event import Header, Logged, Params, Point, Status
from infra.tracking.mlflow_client import client
from infra.tracking.store import Remote
from infra.tracking.trackers import TRACKERS, tracker_of

EVERY = 0.05


class FolderStore:
    """Runs as JSON files of a directory: what another tracker has to bring."""

    tracker: ClassVar[str] = "Folder"

    def __init__(self, uri: str, root: Path) -> None:  # noqa: ARG002
        self._root = Path(uri.removeprefix("folder://"))

    @staticmethod
    def prepare() -> None: ...

    @staticmethod
    def check(uri: str, *, experiment: str | None = None) -> None:  # noqa: ARG004
        if not Path(uri.removeprefix("folder://")).is_dir():
            raise TrackingError(f"tracking {uri} is no directory; make it")

    @staticmethod
    def end_left_runs(uri: str, experiment: str, keys: Collection[str]) -> int:
        left = 0
        for file in Path(uri.removeprefix("folder://")).glob(f"{experiment}/*.json"):
            run = json.loads(file.read_text())
            if run["status"] == "RUNNING" and {run["key"], run["parent_key"]} & set(keys):
                file.write_text(json.dumps(run | {"status": "KILLED"}))
                left += 1
        return left

    @staticmethod
    def reason(error: Exception) -> str:
        return type(error).__name__

    @staticmethod
    def lost_data(error: Exception) -> bool:  # noqa: ARG004
        return False

    def attach(self, header: Header, run_id: str | None) -> Remote:
        remote = Remote(header, run_id or f"{header.experiment}/{header.key.replace('/', '-')}", "RUNNING")
        if not self._file(remote).exists():
            self._file(remote).parent.mkdir(exist_ok=True)
            empty: dict[str, Any] = {"params": {}, "tags": {}, "metrics": {}, "artifacts": {}}
            self._write(remote, empty | {"key": header.key, "parent_key": header.parent_key, "status": "RUNNING"})
        return remote

    def link(self, remote: Remote) -> bool:
        parent = remote.header.parent_key
        return parent is None or (self._root / remote.header.experiment / f"{parent.replace('/', '-')}.json").exists()

    def log(self, remote: Remote, events: Sequence[Logged]) -> list[tuple[str, str]]:
        run, refused = self._read(remote) | {"status": "RUNNING"}, []
        for event in events:
            if isinstance(event, Point):
                for name, value in event.values.items():
                    run["metrics"].setdefault(name, {}).setdefault(str(event.step), value)
            elif isinstance(event, Params):
                for name, text in event.values.items():
                    if run["params"].setdefault(name, text) != text:
                        refused.append((f"{name}={text}", "it has another value"))
            else:
                run["tags"] |= event.values
        self._write(remote, run)
        return refused

    def log_artifact(self, remote: Remote, local: Path, path: str) -> None:
        run = self._read(remote)
        run["artifacts"][path] = local.read_bytes().decode("latin-1")
        self._write(remote, run)

    def terminate(self, remote: Remote, event: Status) -> None:
        self._write(remote, self._read(remote) | {"status": event.status})

    def confirm(self, remote: Remote) -> None:
        self._read(remote)

    def _file(self, remote: Remote) -> Path:
        return self._root / f"{remote.run_id}.json"

    def _read(self, remote: Remote) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._file(remote).read_text())
        return found

    def _write(self, remote: Remote, run: dict[str, Any]) -> None:
        self._file(remote).write_text(json.dumps(run))


class Seen(NamedTuple):
    """A run as its store has it."""

    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, dict[int, float]]
    artifacts: dict[str, bytes]
    status: str


Look = Callable[[str], dict[str, Seen]]


def of_folder(uri: str) -> dict[str, Seen]:
    found = {}
    for file in Path(uri.removeprefix("folder://")).glob("toy/*.json"):
        run = json.loads(file.read_text())
        metrics = {name: {int(step): value for step, value in of.items()} for name, of in run["metrics"].items()}
        artifacts = {path: text.encode("latin-1") for path, text in run["artifacts"].items()}
        found[run["key"]] = Seen(run["params"], run["tags"], metrics, artifacts, run["status"])
    return found


def of_mlflow(uri: str) -> dict[str, Seen]:
    store, found = client(uri), {}
    for run in store.search_runs([store.get_experiment_by_name("toy").experiment_id]):
        metrics = {
            name: {point.step: point.value for point in store.get_metric_history(run.info.run_id, name)}
            for name in run.data.metrics
        }
        folders = [entry.path for entry in store.list_artifacts(run.info.run_id)]
        paths = [entry.path for folder in folders for entry in store.list_artifacts(run.info.run_id, folder)]
        artifacts = {path: Path(store.download_artifacts(run.info.run_id, path)).read_bytes() for path in paths}
        tags = {name: text for name, text in run.data.tags.items() if not name.startswith(("mlflow.", "speechprompt."))}
        found[run.data.tags["speechprompt.key"]] = Seen(
            dict(run.data.params), tags, metrics, artifacts, run.info.status
        )
    return found


@pytest.fixture(params=["sqlite", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Look]:
    """Address of an empty store, and how to look into it."""
    if request.param == "folder":
        monkeypatch.setitem(TRACKERS, "folder", FolderStore)
        (tmp_path / "runs").mkdir()
        return f"folder://{tmp_path}/runs", of_folder
    shutil.copyfile(request.getfixturevalue("empty_store"), tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db", of_mlflow


def test_a_whole_run_arrives_by_halves(place: tuple[str, Look], tmp_path: Path) -> None:
    uri, look = place
    check(uri, experiment="toy")
    with Tracking(uri, tmp_path / "spool", interval=EVERY) as tracking:
        lane = tracking.run("toy", "lane", key="toy/1/lane", parent_key="toy/1", params={"seed": 0})
        lane.point(1, {"loss": 0.5, "accuracy": 0.25})
        lane.tags({"stopped": "not yet"})
        tracking.run("toy", "submission", key="toy/1")
        assert not tracking.flush().events
    assert look(uri)["toy/1/lane"].status == "RUNNING"
    # Another process goes on with it, from a checkpoint before the last point.
    with Tracking(uri, tmp_path / "elsewhere", interval=EVERY) as tracking:
        lane = tracking.run("toy", "lane", key="toy/1/lane", parent_key="toy/1", tags={"stopped": "patience"})
        lane.point(1, {"loss": 9.0})
        lane.point(2, {"loss": 0.25})
        lane.figure("confusion", b"\x89PNG")
        lane.table("confusion", {"label": ["yes"], "count": [3]})
        lane.text("note.md", "done")
        lane.finish("FINISHED")
        assert str(tracking.close()) == f"{tracker_of(uri).tracker} has everything"
    found = look(uri)["toy/1/lane"]
    assert (found.params, found.tags, found.status) == ({"seed": "0"}, {"stopped": "patience"}, "FINISHED")
    assert found.metrics == {"loss": {1: 0.5, 2: 0.25}, "accuracy": {1: 0.25}}
    assert found.artifacts == {
        "figures/confusion.png": b"\x89PNG",
        "tables/confusion.json": b'{"columns": ["label", "count"], "data": [["yes", 3]]}',
        "texts/note.md": b"done",
    }


def test_what_a_store_never_takes_is_set_aside(place: tuple[str, Look], tmp_path: Path) -> None:
    uri, look = place
    with Tracking(uri, tmp_path / "spool", interval=EVERY) as tracking:
        log = tracking.run("toy", "lane", key="toy/1", params={"seed": 0})
        assert not tracking.flush().events
        log.params({"seed": 1})
        log.point(1, {"loss": 0.5})
        unsent = tracking.close()
    assert (unsent.events, unsent.refused) == (0, 1)
    assert f"{tracker_of(uri).tracker} never takes them" in str(unsent)
    assert look(uri)["toy/1"].params == {"seed": "0"}
    assert look(uri)["toy/1"].metrics == {"loss": {1: 0.5}}


def test_runs_that_nobody_goes_on_with_are_ended(place: tuple[str, Look], tmp_path: Path) -> None:
    uri, look = place
    with Tracking(uri, tmp_path / "spool", interval=EVERY) as tracking:
        for key, parent in (("toy/1", None), ("toy/1/lane", "toy/1"), ("toy/2", None)):
            tracking.run("toy", key, key=key, parent_key=parent)
    assert end_left_runs(uri, "toy", ["toy/1"]) == 2
    assert {key: run.status for key, run in look(uri).items()} == {
        "toy/1": "KILLED",
        "toy/1/lane": "KILLED",
        "toy/2": "RUNNING",
    }


def test_a_scheme_that_nobody_registered_is_mlflows() -> None:
    for uri in ("postgresql+psycopg2://u:p@host/db", "HTTP://host", "databricks", "somebodys-plugin://x", "mlruns"):
        assert tracker_of(uri).tracker == "MLflow"
