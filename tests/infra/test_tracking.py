"""Tracking against a real SQLite store and a real MLflow server that dies and comes back."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import StorageError, TrackingError
from infra.local_cluster.service import Service, free_port
from infra.tracking import RunLog, Tracking, check
from infra.tracking.event import Artifact, Event, Params, Point, Status, Tags, document, parse
from infra.tracking.mlflow_client import client
from infra.tracking.spool_file import seal, unseal

EVERY = 0.05
SECRET = "hunter2"


@pytest.fixture
def database(tmp_path: Path, empty_store: Path) -> str:
    # Spaces and letters beyond ASCII, as in a user's home.
    folder = tmp_path / "où es tu"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "mlflow.db")
    return f"sqlite:///{folder}/mlflow.db"


def runs(uri: str, experiment: str) -> dict[str, Any]:
    store = client(uri)
    found = store.search_runs([store.get_experiment_by_name(experiment).experiment_id])
    names = [run.info.run_name for run in found]
    assert len(set(names)) == len(names), "a run was made twice"
    return {run.info.run_name: run for run in found}


def history(uri: str, run: Any, metric: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client(uri).get_metric_history(run.info.run_id, metric)]


def artifact(uri: str, run: Any, path: str, into: Path) -> bytes:
    return Path(client(uri).download_artifacts(run.info.run_id, path, str(into))).read_bytes()


def fill(log: RunLog, start: int, stop: int) -> None:
    for step in range(start, stop):
        log.point(step, {"train/loss": 1 / (step + 1), "valid/accuracy": step / stop})


def test_everything_a_run_can_hold(database: str, tmp_path: Path) -> None:
    with Tracking(database, tmp_path / "spool", interval=EVERY) as tracking:
        log = tracking.run(
            "e",
            "lane",
            key='it\'s "100%"',
            params={"seed": 0, "long": "x" * 7000},
            tags={"long": "y" * 9000, "server": f"http://me:{SECRET}@host"},
        )
        fill(log, 0, 1500)
        log.point(1500, {"valid/F1 (macro)": float("nan")})
        log.params({f"p{i}": i for i in range(150)})
        log.tags({"bundle": "s3://prompts/x"})
        log.figure("confusion", b"\x89PNG picture")
        log.table("confusion", {"label": ["ja", "nė"], "count": [1, 2]})
        log.text("why.md", "patience")
        log.finish("FINISHED")
        assert tracking.flush().events == 0
        run_id = log.run_id()
    run = runs(database, "e")["lane"]
    assert run.info.run_id == run_id
    assert run.info.status == "FINISHED"
    assert history(database, run, "train/loss") == [(step, 1 / (step + 1)) for step in range(1500)]
    assert len(history(database, run, "valid/F1 _macro_")) == 1
    assert run.data.params["seed"] == "0"
    assert len(run.data.params) == 152
    assert run.data.params["long"] == "x" * 5999 + "…"
    assert run.data.tags["long"] == "y" * 7999 + "…"
    assert run.data.tags["server"] == "http://***@host"
    assert run.data.tags["bundle"] == "s3://prompts/x"
    assert artifact(database, run, "figures/confusion.png", tmp_path) == b"\x89PNG picture"
    table = json.loads(artifact(database, run, "tables/confusion.json", tmp_path))
    assert table == {"columns": ["label", "count"], "data": [["ja", 1], ["nė", 2]]}
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "tables/confusion.json", "type": "table"}]
    assert artifact(database, run, "texts/why.md", tmp_path) == b"patience"
    assert not list((tmp_path / "spool").rglob("events")), "what was sent needs no spool"


def open_files(folder: Path) -> list[str]:
    """What this process keeps open below a folder."""
    held = []
    for link in Path("/proc/self/fd").iterdir():
        # The sender closes files meanwhile.
        with suppress(FileNotFoundError):
            held.append(str(link.readlink()))
    return [path for path in held if path.startswith(str(folder))]


def test_runs_that_are_let_go_keep_nothing_open_and_may_be_opened_again(database: str, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with Tracking(database, spool, interval=EVERY) as tracking:
        parent = tracking.run("e", "parent", key="p")
        for lane in range(20):
            log = tracking.run("e", f"lane {lane}", key=f"l{lane}", parent_key="p")
            fill(log, 0, 3)
            log.finish("FINISHED")
            tracking.let_go(log)
        deadline = time.monotonic() + 60
        while len(open_files(spool)) > 2 and time.monotonic() < deadline:
            time.sleep(EVERY)
        assert {Path(path).parent for path in open_files(spool)} == {parent.place}
        assert tracking.unsent().events == 0
        again = tracking.run("e", "lane 0", key="l0", parent_key="p")
        fill(again, 2, 5)
        tracking.let_go()
        assert tracking.flush().events == 0
    assert not list(spool.rglob("events"))
    found = runs(database, "e")
    assert len(found) == 21
    for lane in range(20):
        run = found[f"lane {lane}"]
        steps = range(5 if lane == 0 else 3)
        assert [step for step, _ in history(database, run, "train/loss")] == list(steps)
        assert run.data.tags["mlflow.parentRunId"] == found["parent"].info.run_id


def test_runs_that_are_let_go_are_sent_when_the_store_is_back(tmp_path: Path) -> None:
    with Tracking("http://127.0.0.1:9", tmp_path / "spool", interval=EVERY) as tracking:
        fill(tracking.run("e", "lane", key="l"), 0, 3)
        tracking.let_go()
        unsent = tracking.unsent()
        assert unsent.events == 3
        assert tracking.close(timeout=0.1).events == 3
    [events] = (tmp_path / "spool").rglob("events")
    assert len(events.read_text(encoding="utf-8").splitlines()) == 3
    assert not open_files(tmp_path / "spool")


def test_a_resumed_run_is_the_same_run_without_doubled_points(database: str, tmp_path: Path) -> None:
    for spool, start, stop in (("a", 0, 50), ("a", 30, 80), ("another machine's", 60, 100)):
        with Tracking(database, tmp_path / spool, interval=EVERY) as tracking:
            log = tracking.run("e", "lane", key="k", params={"seed": 0})
            fill(log, start, stop)
            fill(log, start, stop)
            log.finish("FINISHED" if stop == 100 else "FAILED")
            if stop == 80:
                tracking.flush()
                log.point(stop - 1, {"train/loss": 9.0})
                log.tags({"note": "a tag does not revive a run"})
                assert tracking.flush().events == 0
                assert runs(database, "e")["lane"].info.status == "FAILED"
                log.point(70, {"new": 1.0})
                assert tracking.flush().events == 0
                assert runs(database, "e")["lane"].info.status == "RUNNING"
    run = runs(database, "e")["lane"]
    assert [step for step, _ in history(database, run, "train/loss")] == list(range(100))
    assert run.info.status == "FINISHED"


def test_children_may_come_before_their_parent(database: str, tmp_path: Path) -> None:
    with Tracking(database, tmp_path / "spool", interval=EVERY) as tracking:
        child = tracking.run("e", "child", key="p/c", parent_key="p")
        child.point(0, {"a": 1.0})
        assert tracking.flush().events == 0
        assert "mlflow.parentRunId" not in runs(database, "e")["child"].data.tags
        tracking.run("e", "parent", key="p").finish("FINISHED")
    found = runs(database, "e")
    assert found["child"].data.tags["mlflow.parentRunId"] == found["parent"].info.run_id


WRITER = """
import sys
from pathlib import Path
from infra.tracking import Tracking

uri, spool, number = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
with Tracking(uri, spool, interval=0.05) as tracking:
    shared = tracking.run("e", "parent", key="p")
    for child in range(3):
        log = tracking.run("e", f"child {number}.{child}", key=f"p/{number}.{child}", parent_key="p")
        for step in range(100):
            log.point(step, {"loss": float(step)})
            if child == 0:
                shared.point(step, {f"from {number}": float(step)})
        log.finish("FINISHED")
    assert tracking.flush(60).events == 0
"""


def write(uri: str, spool: Path, number: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, uri, str(spool), str(number)])


@pytest.mark.parametrize("store", ["sqlite", "server"])
def test_two_processes_write_children_of_one_parent(
    store: str, database: str, mlflow_server: Service, tmp_path: Path
) -> None:
    uri = database if store == "sqlite" else mlflow_server.url
    writers = [write(uri, tmp_path / "spool", number) for number in range(2)]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    found = runs(uri, "e")
    assert sorted(found) == [f"child {n}.{c}" for n in range(2) for c in range(3)] + ["parent"]
    parent = found.pop("parent")
    everything = [(step, float(step)) for step in range(100)]
    for run in found.values():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert history(uri, run, "loss") == everything
    for number in range(2):
        assert history(uri, parent, f"from {number}") == everything


def test_a_server_killed_in_the_middle_misses_nothing(
    tmp_path: Path,
    empty_store: Path,
    start_mlflow: Callable[[Path, int], Service],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "mlflow").mkdir()
    shutil.copyfile(empty_store, tmp_path / "mlflow" / "mlflow.db")
    port = free_port()
    server = start_mlflow(tmp_path, port)
    uri = server.url.replace("://", f"://me:{SECRET}@")
    with caplog.at_level(logging.INFO), Tracking(uri, tmp_path / "spool", interval=EVERY) as tracking:
        log = tracking.run("outage", "lane", key="k")
        fill(log, 0, 2000)
        assert log.run_id(30) is not None
        for member in server._members():
            os.kill(member.pid, signal.SIGKILL)
        server.stop()
        began = time.monotonic()
        fill(log, 2000, 2500)
        log.figure("after", b"png")
        log.finish("FINISHED")
        assert time.monotonic() - began < 30, "tuning waited for the server"
        missing = tracking.flush(1.0)
        assert missing.events >= 502
        assert str(missing.directory) in str(missing)
        start_mlflow(tmp_path, port)
        assert tracking.flush(60).events == 0
    run = runs(uri, "outage")["lane"]
    assert history(uri, run, "train/loss") == [(step, 1 / (step + 1)) for step in range(2500)]
    assert run.info.status == "FINISHED"
    assert artifact(uri, run, "figures/after.png", tmp_path) == b"png"
    assert "cannot be used" in caplog.text
    assert "is back" in caplog.text
    assert SECRET not in caplog.text + str(missing)


def test_what_a_dead_process_left_is_sent_by_the_next(database: str, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    program = "import os, sys; from pathlib import Path; from infra.tracking import Tracking\n"
    program += "log = Tracking(sys.argv[1], Path(sys.argv[2]), interval=60).run('e', 'lane', key='k')\n"
    program += "[log.point(step, {'loss': step}) for step in range(100)]; log.figure('f', b'png'); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", program, database, str(spool)]).returncode == 9
    journal = next(spool.rglob("events"))
    with Tracking(database, spool, interval=EVERY) as tracking:
        tracking.run("e", "another", key="other").finish("FINISHED")
    found = runs(database, "e")
    assert sorted(found) == ["another", "lane"]
    assert history(database, found["lane"], "loss") == [(step, float(step)) for step in range(100)]
    assert artifact(database, found["lane"], "figures/f.png", tmp_path) == b"png"
    assert not journal.exists()


def test_a_spool_damaged_by_a_crash_of_the_machine_stops_nothing(
    database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = tmp_path / "spool"
    with Tracking(database, spool, interval=60) as tracking:
        for name in ("first", "second"):
            fill(tracking.run("e", name, key=name), 0, 3)
        assert tracking.flush().events == 0
        for file in spool.rglob("sent"):
            file.write_text("")
        broken = spool / tracking.flush().directory / "broken"
        broken.mkdir()
        (broken / "header").write_text("")
        assert tracking.close().events == 0
    assert f"{broken / 'header'}: not the header of a run" in caplog.text
    for run in runs(database, "e").values():
        assert [step for step, _ in history(database, run, "train/loss")] == [0, 1, 2]


def test_close_says_what_is_missing_and_why(tmp_path: Path) -> None:
    tracking = Tracking(f"http://me:{SECRET}@127.0.0.1:{free_port()}", tmp_path / "spool", interval=EVERY)
    fill(tracking.run("e", "lane", key="k"), 0, 10)
    while tracking.unsent().reason is None:
        time.sleep(EVERY)
    began = time.monotonic()
    report = tracking.close(0.5)
    assert time.monotonic() - began < 60
    assert report.events == 10
    assert str(report).startswith("10 events are not sent to MLflow yet (Connection refused)")
    assert SECRET not in str(report)
    assert len(list(report.directory.rglob("events"))) == 1


def test_a_torn_line_and_a_refused_value_are_set_aside_and_the_rest_is_sent(database: str, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with Tracking(database, spool, interval=60) as tracking:
        tracking.run("e", "lane", key="k").params({"seed": 0})
        assert tracking.flush().events == 0
        journal = next(spool.rglob("events"))
        with journal.open("ab") as file:
            file.write(b'{"kind": "point", "st\n')
        log = tracking.run("e", "lane", key="k")
        log.params({"seed": 1, "fine": 2})
        log.point(0, {"loss": 1.0, "not//unique": 2.0})
        log.point(1, {"loss": 0.5})
        report = tracking.flush()
        assert (report.events, report.refused) == (0, 3)
    run = runs(database, "e")["lane"]
    assert run.data.params == {"seed": "0", "fine": "2"}
    assert history(database, run, "loss") == [(0, 1.0), (1, 0.5)]
    refused = next(spool.rglob("refused.jsonl")).read_text(encoding="utf-8")
    assert "not//unique" in refused
    assert "seed" in refused


def test_a_run_that_was_deleted_in_the_ui_is_made_anew(database: str, tmp_path: Path) -> None:
    with Tracking(database, tmp_path / "spool", interval=EVERY) as tracking:
        tracking.run("e", "lane", key="k").point(0, {"loss": 1.0})
    client(database).delete_run(runs(database, "e")["lane"].info.run_id)
    with Tracking(database, tmp_path / "spool", interval=EVERY) as tracking:
        tracking.run("e", "lane", key="k").point(1, {"loss": 0.5})
    assert history(database, runs(database, "e")["lane"], "loss") == [(1, 0.5)]


def test_misuse_is_an_error(database: str, tmp_path: Path) -> None:
    tracking = Tracking(database, tmp_path / "spool", interval=EVERY)
    log = tracking.run("e", "lane", key="k")
    with pytest.raises(ValueError, match="status"):
        log.finish("DONE")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="zip"):
        log.table("t", {"a": [1], "b": []})
    tracking.close()
    tracking.close()
    with pytest.raises(TrackingError, match="closed"):
        log.point(0, {"a": 1.0})
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StorageError, match=r"file/.* cannot be used \(Not a directory\)"):
        Tracking(database, blocked)


def test_check(database: str, mlflow_server: Service, tmp_path: Path) -> None:
    absent = tmp_path / "new" / "mlflow.db"
    check(f"sqlite:///{absent}")
    assert not absent.parent.exists(), "a check must not make a database"
    with Tracking(database, tmp_path / "spool", interval=EVERY) as tracking:
        tracking.run("gone", "lane", key="k").finish("KILLED")
    check(database, experiment="new")
    store = client(database)
    store.delete_experiment(store.get_experiment_by_name("gone").experiment_id)
    with pytest.raises(TrackingError, match="gone is deleted"):
        check(database, experiment="gone")
    check(mlflow_server.url)
    with pytest.raises(TrackingError, match="cannot be used") as refusal:
        check(f"http://me:{SECRET}@127.0.0.1:{free_port()}")
    assert SECRET not in str(refusal.value)
    blocked = tmp_path / "file"
    blocked.write_text("")
    for uri in (str(tmp_path / "mlruns"), f"file://{tmp_path}", f"sqlite:///{blocked}/mlflow.db"):
        with pytest.raises(TrackingError):
            check(uri)


whole = st.integers(-(2**63), 2**63 - 1)
figures = st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=3)
texts = st.dictionaries(st.text(), st.text(), max_size=3)


@given(st.builds(Point, whole, figures, whole) | st.builds(Params, texts) | st.builds(Tags, texts))
def test_events_survive_the_disk(event: Event) -> None:
    line = seal(document(event), "run")
    assert line.count(b"\n") == 1
    assert parse(unseal(line, "run")) == event


@pytest.mark.parametrize(
    "event",
    [
        Point(3, {"loss": 0.5}, 17),
        Params({"seed": "0"}),
        Tags({"stopped": "steps"}),
        Artifact("figures/confusion.png", "0" * 32, "1" * 64),
        Status("FINISHED", 17),
    ],
)
def test_events_of_earlier_versions_are_read(event: Event) -> None:
    """They held the fields of all kinds, whatever they were."""
    flat = {"time": 17, "step": 0, "values": {}, "path": "", "file": "", "digest": "", "status": ""}
    earlier = json.dumps(flat | json.loads(document(event)))
    assert parse(earlier.encode()) == event


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "figure"},
        {"values": {"loss": "low"}},
        {"values": None},
        {"step": "3"},
        {"step": 2**63},
        {"kind": "params", "values": {"seed": 1.0}},
        {"kind": "status", "status": "RUNNING"},
        {"kind": "artifact", "path": "figures/..", "file": "0" * 32, "digest": ""},
        {"kind": "artifact", "path": "figures/a.png", "file": "../a", "digest": ""},
        {"kind": "artifact", "path": "elsewhere/a.png", "file": "0" * 32, "digest": ""},
    ],
)
def test_what_no_store_can_take_is_no_event(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the JSON parser says
        parse(json.dumps(json.loads(document(Point(3, {"loss": 0.5}))) | changes).encode())


@given(st.binary(max_size=50) | st.from_regex(rb'\{"kind".*', fullmatch=True))
def test_anything_else_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the JSON parser says
        parse(line)
