"""Hypothesis: whatever part of a job is killed, however and whenever, it ends in a sentence and goes on, to the bytes
of a job that nobody touched.

    python -m benchmarks.survival.kills [--kills 200] [--minutes 120] [--seed 0] [--dir DIR]

A small job that checkpoints, tunes, publishes and tracks is submitted again and again, in a Ray of its own and on a
cluster of two nodes in turn. Into each submission one seeded stroke falls, at a random moment of its victim's life:
the driver, a tuning actor, the publisher, a raylet or the GCS gets SIGKILL, SIGHUP or SIGINT twice. Whenever the job
is done it is compared with one left in peace, and begins anew. With --dir what was found is kept, and a later call goes
on. Headlines, all of them 0: bundles that differ, points lost or doubled in MLflow, runs left RUNNING, processes left
after 10 s, exit codes and messages other than they should be.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.survival.struck import KINDS, NODES, STROKES, Stroke, Submission
from benchmarks.survival.survivor import Counts, compare, write_job
from benchmarks.survival.two_nodes import NoCluster, TwoNodes

CLUSTERS = 1000
"""Started at most."""
IN_A_ROW = 5
"""Strokes after which a submission is left alone."""
JOB = {"tasks": 2, "steps": 60, "every": 10, "gang": 1, "workers": 2}
STRAIGHT_TRIES = 3
LAST_TRIES = 5
"""Submissions that bring the job begun last to its end, at most."""
ROUNDS = ("differing", "points_lost", "points_twice", "runs_twice", "running")


class Campaign:
    """Strokes, one after another, and what came of them.

    Args:
        root: directory of the jobs and of ``found.jsonl``.
        seed: of victims, signals and moments.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self._root, self._seed = root, seed
        self._log = root / "found.jsonl"
        self._scratch = Path(tempfile.mkdtemp(prefix="spk", dir="/tmp"))
        self._cluster: TwoNodes | None = None
        self._submission: Submission | None = None
        self._clusters = 0
        self.found: list[dict[str, Any]] = []
        if self._log.exists():
            self.found = [json.loads(line) for line in self._log.read_text().splitlines()]

    @property
    def kills(self) -> int:
        """Strokes that met their victim."""
        return sum(1 for entry in self.found if entry.get("struck"))

    def prepare(self) -> dict[str, float]:
        """Write the jobs, and run the one that is left in peace; returns how long each victim lives, in seconds."""
        lives = self._root / "lives.json"
        if not lives.exists():
            shutil.rmtree(self._root / "straight", ignore_errors=True)
            write_job(self._root, **JOB)
            for _ in range(STRAIGHT_TRIES):
                straight = self._submission = Submission(self._root, "straight", self._scratch, None)
                lived = straight.watch()
                if straight.code == 0:
                    break
            else:
                raise RuntimeError(straight.said)
            lives.write_text(json.dumps(lived))
        return {str(kind): float(seconds) for kind, seconds in json.loads(lives.read_text()).items()}

    def play(self, lives: dict[str, float], number: int, in_a_row: int) -> bool:
        """One submission and its stroke; returns whether the job is done."""
        chance = random.Random(f"{self._seed} {number}")  # noqa: S311
        kinds = [(kind, name) for kind in KINDS for name in STROKES]
        turn = random.Random(f"{self._seed} {number // len(kinds)}").sample(kinds, len(kinds))  # noqa: S311
        kind, name = turn[number % len(kinds)]
        nodes = NODES[number // len(kinds) % len(NODES)]
        stroke = Stroke(kind, name, delay=chance.uniform(0.0, lives[kind]), pick=chance.random())
        cluster = self._two_nodes() if nodes == 2 else None
        submission = self._submission = Submission(self._root, "killed", self._scratch, cluster)
        struck = submission.strike(stroke) if in_a_row < IN_A_ROW else False
        entry: dict[str, Any] = {"number": number, "nodes": nodes, "victim": kind, "signal": name, "struck": struck}
        entry |= submission.end(stroke if struck else None)
        self._note(entry)
        return submission.code == 0

    def judge(self) -> None:
        """Compare the job that is done with the one left in peace, and clear it away."""
        job = self._root / "killed"
        counts = compare(self._root, Counts(), Counter(), Counter())
        with sqlite3.connect(job / "mlflow.db") as database:
            running = [name for (name,) in database.execute("select name from runs where status = 'RUNNING'")]
        entry = {
            "round": sum("round" in before for before in self.found),
            "bundles": counts.bundles,
            "points": counts.points,
            **{name: getattr(counts, name) for name in ROUNDS[:-1]},
            "running": running,
        }
        self._note(entry)
        if any(entry[name] for name in ROUNDS):
            shutil.copytree(job, self._root / f"round-{entry['round']}", dirs_exist_ok=True)
        for place in ("runs", "bundles", "mlartifacts"):
            shutil.rmtree(job / place, ignore_errors=True)
        for file in job.glob("mlflow.db*"):
            file.unlink()

    def close(self) -> None:
        """End what runs."""
        if self._submission is not None:
            self._submission.close()
        if self._cluster is not None:
            self._cluster.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _two_nodes(self) -> TwoNodes:
        if self._cluster is not None and not self._cluster.whole:
            self._cluster.close()
            self._cluster = None
        while self._cluster is None:
            self._clusters += 1
            try:
                self._cluster = TwoNodes(self._scratch / f"c{self._clusters}")
            except NoCluster as error:
                print(error, flush=True)
                if self._clusters == CLUSTERS:
                    raise
        return self._cluster

    def _note(self, entry: dict[str, Any]) -> None:
        self.found.append(entry)
        with self._log.open("a") as log:
            log.write(json.dumps(entry) + "\n")
        print(json.dumps(entry), flush=True)


def table(found: list[dict[str, Any]]) -> str:
    """Counts by victim, signal and nodes, and the headlines below."""
    strokes = [entry for entry in found if entry.get("struck")]
    rounds = [entry for entry in found if "round" in entry]
    lines = ["| victim | signal | one node | two nodes | exit codes | longest end, s |", "|---|---|---|---|---|---|"]
    for kind in KINDS:
        for name in STROKES:
            of = [entry for entry in strokes if (entry["victim"], entry["signal"]) == (kind, name)]
            nodes = [sum(entry["nodes"] == number for entry in of) for number in NODES]
            codes = ", ".join(f"{code}: {n}" for code, n in sorted(Counter(entry["code"] for entry in of).items()))
            longest = max((entry["seconds"] for entry in of), default=0.0)
            lines.append(f"| {kind} | {name} | {nodes[0]} | {nodes[1]} | {codes} | {longest:.0f} |")
    total = {name: sum(_size(entry[name]) for entry in rounds) for name in ROUNDS}
    faults = [fault for entry in found for fault in entry.get("faults", [])]
    lines.append(
        f"{len(strokes)} kills in {sum('number' in entry for entry in found)} submissions of {len(rounds)} jobs "
        f"({sum(entry.get('slow', False) for entry in found)} times Ray did not start in time); "
        f"{sum(entry['bundles'] for entry in rounds)} bundles, differing {total['differing']}; "
        f"{sum(entry['points'] for entry in rounds)} points, lost {total['points_lost']}, doubled "
        f"{total['points_twice']}; runs doubled {total['runs_twice']}, left RUNNING {total['running']}; processes left "
        f"{sum(len(entry['left']) for entry in found if 'left' in entry)}; wrong ends {len(faults)}"
    )
    return "\n".join([*lines, *faults])


def _size(value: int | list[str]) -> int:
    return value if isinstance(value, int) else len(value)


def main() -> None:
    """Run the campaign for as long as it may take, and print what was found, also when it is ended before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dir", type=Path, help="keep jobs and findings here, and go on with those that are there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    deadline = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="spj", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        root = (options.dir or Path(scratch)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        campaign = Campaign(root, options.seed)
        try:
            lives = campaign.prepare()
            number = sum("number" in entry for entry in campaign.found)
            in_a_row, done, tries = 0, False, LAST_TRIES
            while tries:
                over = campaign.kills >= options.kills or time.monotonic() >= deadline
                # The job begun last is brought to its end.
                if over and done:
                    break
                done = campaign.play(lives, number, IN_A_ROW if over else in_a_row)
                number, in_a_row, tries = number + 1, 0 if done else in_a_row + 1, tries - over
                if done:
                    campaign.judge()
        finally:
            campaign.close()
            print(table(campaign.found))
    if any(entry.get("faults") or any(entry.get(name) for name in ROUNDS) for entry in campaign.found):
        sys.exit(1)


if __name__ == "__main__":
    main()
