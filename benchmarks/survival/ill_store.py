"""Hypothesis: whatever ails MLflow's database for a while, every point is in the mended store, once.

    python -m benchmarks.survival.ill_store [--store server|database] [--rounds 3] [--seconds 25] [--runs 4]

A real store lies on a small file system of its own. Runs log a point every 50 ms and begin and end at any time, while
the database is damaged, held by another program, read-only, out of room and slow in turn. Headline: points lost,
doubled and set aside (0), runs made twice or not ended (0), lines that were printed meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from infra.local_cluster.mlflow_server import start_mlflow_server
from infra.local_cluster.service import free_port
from infra.tracking import Tracking, Unsent
from infra.tracking.mlflow_client import client, prepare_mlflow
from tests.fixtures.faulty_proxy import Fault, FaultyProxy
from tests.fixtures.ill_database import corrupted, full, locked, read_only
from tests.fixtures.small_disk import small_disk

DISK = 64 << 20
EVERY = 0.05
LASTING = 400
"""Points of one run."""
PAUSE = 3.0
EXPERIMENT = "ill"


def main() -> None:
    """Make the store, make it ill in turn, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["server", "database"], default="server")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=25.0, help="each illness; SQLite waits 20 for a lock")
    parser.add_argument("--runs", type=int, default=4, help="at once")
    options = parser.parse_args()
    prepare_mlflow()
    with (
        tempfile.TemporaryDirectory(prefix="sp-ill-", dir="/tmp") as directory,
        small_disk(Path(directory) / "disk", DISK) as disk,
    ):
        database = disk / "mlflow" / "mlflow.db"
        database.parent.mkdir()
        client(f"sqlite:///{database}").search_experiments()
        if options.store == "database":
            slow = lambda: _interrupted(database)  # noqa: E731
            _measure(f"sqlite:///{database}", disk, slow, Path(directory), options)
            return
        # Its log is open all the time, and would keep the disk from being made read-only.
        (Path(directory) / "mlflow").symlink_to(database.parent)
        server = start_mlflow_server(Path(directory), port=free_port())
        try:
            with FaultyProxy(server.url) as proxy:
                _measure(proxy.url, disk, lambda: _delayed(proxy), Path(directory), options)
        finally:
            server.stop()


def _measure(
    uri: str,
    disk: Path,
    slow: Callable[[], AbstractContextManager[None]],
    directory: Path,
    options: argparse.Namespace,
) -> None:
    database = disk / "mlflow" / "mlflow.db"
    illnesses: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "corrupted": lambda: corrupted(database),
        "locked": lambda: locked(database),
        "read-only": lambda: read_only(disk),
        "full": lambda: full(disk),
        "slow": slow,
    }
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    over = threading.Event()
    logged: dict[str, int] = {}
    with Tracking(uri, directory / "spool", interval=0.5) as tracking:
        writers = [
            threading.Thread(target=_write, args=(tracking, f"w{number}", over, logged))
            for number in range(options.runs)
        ]
        for writer in writers:
            writer.start()
        for _ in range(options.rounds):
            for name, illness in illnesses.items():
                time.sleep(PAUSE)
                print(f"--- {name}", flush=True)
                with illness():
                    time.sleep(options.seconds)
        over.set()
        for writer in writers:
            writer.join()
        unsent = tracking.flush(900)
    _report(uri, logged, unsent, options)


def _write(tracking: Tracking, name: str, over: threading.Event, logged: dict[str, int]) -> None:
    """One run after the other, each of some points, until told to stop."""
    number = 0
    while not over.is_set():
        key = f"{name}.{number}"
        log = tracking.run(EXPERIMENT, key, key=key, params={"writer": name})
        for step in range(LASTING):
            log.point(step, {"loss": 1 / (step + 1)})
            over.wait(EVERY)
        log.text("why.md", "patience")
        log.finish("FINISHED")
        logged[key] = LASTING
        tracking.let_go(log)
        number += 1


def _report(uri: str, logged: dict[str, int], unsent: Unsent, options: argparse.Namespace) -> None:
    store = client(uri)
    found = store.search_runs([store.get_experiment_by_name(EXPERIMENT).experiment_id], max_results=5000)
    counts = Counter(run.info.run_name for run in found)
    lost = doubled = artifacts = 0
    for run in found:
        steps = Counter(point.step for point in store.get_metric_history(run.info.run_id, "loss"))
        lost += logged[run.info.run_name] - len(steps)
        doubled += sum(steps.values()) - len(steps)
        artifacts += len(store.list_artifacts(run.info.run_id, "texts"))
    lost += sum(points for name, points in logged.items() if name not in counts)
    unended = sum(run.info.status != "FINISHED" for run in found)
    print(f"{options.store}, {options.rounds} rounds of {options.seconds:.0f} s each illness: {unsent}")
    print("| runs | made twice | not ended | points | lost | doubled | set aside | artifacts |")
    print("|---|---|---|---|---|---|---|---|")
    twice = sum(count > 1 for count in counts.values())
    points = sum(logged.values())
    print(f"| {len(logged)} | {twice} | {unended} | {points} | {lost} | {doubled} | {unsent.refused} | {artifacts} |")


@contextmanager
def _delayed(proxy: FaultyProxy) -> Iterator[None]:
    """Answers that come when nobody waits for them any more, and others that take their time."""
    proxy.faults = [Fault("delay", seconds=22.0, times=2), Fault("delay", seconds=1.0, times=None)]
    try:
        yield
    finally:
        proxy.faults = []


@contextmanager
def _interrupted(database: Path) -> Iterator[None]:
    """Somebody else's writing, again and again."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.2):
            with locked(database):
                over.wait(2.0)

    other = threading.Thread(target=work)
    other.start()
    try:
        yield
    finally:
        over.set()
        other.join()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
    os._exit(0)
