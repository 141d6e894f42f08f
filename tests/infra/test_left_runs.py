"""Runs of a submission that was killed are not shown as running, and those of others are left alone."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from infra.errors import TrackingUnreachable
from infra.tracking import Tracking
from infra.tracking.left_runs import end_left_runs
from tests.fixtures.answering import Answering


def test_only_what_nobody_goes_on_with_is_ended(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with Tracking(uri, tmp_path / "spool") as tracking:
        for submission in ("toy/it's 1", "toy/2"):
            tracking.run("toy", submission, key=submission)
            tracking.run("toy", f"ended of {submission}", key=f"e {submission}", parent_key=submission).finish("FAILED")
            tracking.run("toy", f"lane of {submission}", key=f"l {submission}", parent_key=submission)
        tracking.run("other", "of another job", key="toy/it's 1")
        assert not tracking.flush(120.0).events
    assert end_left_runs(uri, "toy", ["toy/it's 1"]) == 2
    assert end_left_runs(uri, "toy", ["toy/it's 1"]) == end_left_runs(uri, "none", ["toy/it's 1"]) == 0
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        statuses = dict(database.execute("select name, status from runs").fetchall())
    assert statuses == {
        "toy/it's 1": "KILLED",
        "lane of toy/it's 1": "KILLED",
        "ended of toy/it's 1": "FAILED",
        "toy/2": "RUNNING",
        "lane of toy/2": "RUNNING",
        "ended of toy/2": "FAILED",
        "of another job": "RUNNING",
    }


def test_a_store_that_cannot_be_used_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(TrackingUnreachable, match=r"MLflow at sqlite:///.* cannot be used \(.*\)$") as raised:
        end_left_runs(f"sqlite:///{tmp_path}/mlflow.db", "toy", ["toy/1"])
    assert "\n" not in str(raised.value)


def test_two_threads_may_be_the_first_to_import_mlflow(tmp_path: Path) -> None:
    """Python refuses, in one of them, an import in which each waits for what the other has begun."""
    program = """
        import pathlib, sys, threading
        from infra.tracking.event import Header
        from infra.tracking.left_runs import end_left_runs
        from infra.tracking.mlflow_store import MLflowStore

        def attach():
            while "mlflow" not in sys.modules:
                pass
            MLflowStore(uri, pathlib.Path(".")).attach(Header("toy", "run", "key", None), None)
            done.append(True)

        uri, done = f"sqlite:///{sys.argv[1]}/mlflow.db", []
        sender = threading.Thread(target=attach)
        sender.start()
        end_left_runs(uri, "toy", ["toy/1"])
        sender.join()
        assert done
    """
    run = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_no_store_is_said_in_few_safe_characters(answering: Answering) -> None:
    answering.answers(418, "\x1b]0;owned\x07\u202e" * 100_000)
    with pytest.raises(TrackingUnreachable) as raised:
        end_left_runs(answering.url, "toy", ["toy/1"])
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300
