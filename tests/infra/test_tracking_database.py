"""The SQLite file of a tracking store is there whole or not at all."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from infra.tracking import Tracking, check

MAKE = (
    "import sys; from infra.tracking.mlflow_client import client, prepare_mlflow; prepare_mlflow(); client(sys.argv[1])"
)


def test_a_process_killed_while_it_makes_the_tables_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    uri = f"sqlite:///{database}"
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", MAKE, uri])
    try:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if any(file.stat().st_size > 50_000 for file in tmp_path.rglob("mlflow.db")):
                break
            time.sleep(0.001)
    finally:
        process.kill()
    assert process.wait() == -9
    assert not database.exists()

    check(uri)
    with Tracking(uri, tmp_path / "spool") as tracking:
        tracking.run("toy", "run", key="a").finish("FINISHED")
        assert not tracking.flush().events
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("select name from runs").fetchall() == [("run",)]
        assert connection.execute("pragma journal_mode").fetchone() == ("delete",)
