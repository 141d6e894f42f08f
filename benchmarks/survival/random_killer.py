"""Hypothesis: machines may come and go at any moment, and a job still gives the bytes of one that nobody touched.

A job of twelve lanes on two Ray nodes, a head and a second one on this machine. A seeded killer waits a random time and
then kills a worker process, the second node, or the driver with SIGKILL, or drains the second node as a cloud does that
takes a spot machine back. A node that went comes back; a driver that was killed is submitted again; the last submission
is left alone. Headlines: kills, resumes, steps repeated; and points lost, points twice, bundles differing (want: 0).

    python -m benchmarks.survival.random_killer [--kills N] [--rounds N] [--seed N] [--dir DIR]
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.survival.survivor import (
    SUBMISSION_SECONDS,
    Counts,
    compare,
    environment,
    steps_taken,
    submit,
    write_job,
)

VICTIMS = ("worker", "worker", "node", "driver", "drain")
BETWEEN_SECONDS = (2.0, 12.0)
DRAIN_SECONDS = 3
BACK_SECONDS = 3.0
"""After which a second node comes back."""
WORKER = "ray::"
"""How the command lines of Ray's workers begin; those that are idle, and agents of a node, do not count."""


class Killer:
    """A cluster of two nodes, and what happens to it.

    Args:
        seed: of what is killed, and when.
        scratch: short directory for Ray's files, named ``ray``.
    """

    def __init__(self, seed: int, scratch: Path) -> None:
        from ray.cluster_utils import Cluster

        self._random = random.Random(seed)  # noqa: S311
        # Where Ray notes the address of the cluster, which must not take the place of another's.
        os.environ["RAY_TMPDIR"] = str(scratch.parent)
        scratch.mkdir()
        head = {"num_cpus": 1, "include_dashboard": False, "temp_dir": str(scratch)}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self._second: Any = self._cluster.add_node(num_cpus=1)

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def close(self) -> None:
        """End the cluster."""
        self._cluster.shutdown()

    def strike(self, driver: subprocess.Popen[bytes]) -> str | None:
        """Wait, and kill something while a driver works; returns what, if there was any."""
        ended = time.monotonic() + self._random.uniform(*BETWEEN_SECONDS)
        while time.monotonic() < ended:
            if driver.poll() is not None:
                return None
            time.sleep(0.1)
        victim = self._random.choice(VICTIMS)
        if victim == "driver":
            driver.kill()
            driver.wait()
        elif victim == "worker":
            workers = self._workers()
            if not workers:
                return None
            with suppress(psutil.NoSuchProcess):
                self._random.choice(workers).kill()
        else:
            self._lose_node(drained=victim == "drain")
        return victim

    def _workers(self) -> list[psutil.Process]:
        """Workers of this cluster that do something, in a fixed order."""
        found = []
        for node in (self._cluster.head_node, self._second):
            for process in psutil.Process(_raylet(node)).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    title = " ".join(process.cmdline())
                    if title.startswith(WORKER) and "IDLE" not in title and "Agent" not in title:
                        found.append(process)
        return found

    def _lose_node(self, *, drained: bool) -> None:
        if drained:
            command = ["drain-node", "--address", self.address, "--node-id", self._second.node_id]
            command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
            command += ["--deadline-remaining-seconds", str(DRAIN_SECONDS)]
            subprocess.run([sys.executable, "-m", "ray.scripts.scripts", *command], check=True, capture_output=True)
            time.sleep(DRAIN_SECONDS)
        raylet = _raylet(self._second)
        with suppress(ProcessLookupError):
            os.kill(raylet, signal.SIGKILL)
        time.sleep(BACK_SECONDS)
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._second = self._cluster.add_node(num_cpus=1)


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def play(root: Path, crash: Path, killer: Killer, *, kills: int, expected: Counter[str]) -> Counts:
    """One job with so many kills."""
    counts = Counts()
    started = time.monotonic()
    driver = submit(root, "killed", killer.address)
    counts.submissions = 1
    # Which lanes share a pass depends on the nodes that are there when a job begins, and the last bits on that.
    while driver.poll() is None and not list((root / "killed/runs/killed/gangs").glob("*.json")):
        time.sleep(0.1)
    while True:
        if counts.kills.total() < kills:
            victim = killer.strike(driver)
            if victim is not None:
                counts.kills[victim] += 1
                print(f"{time.monotonic() - started:.0f} s: {victim}", flush=True)
        code = driver.poll() if counts.kills.total() < kills else driver.wait(SUBMISSION_SECONDS)
        if code == 0:
            break
        if code is not None:
            if code != -signal.SIGKILL:
                print(f"submission {counts.submissions} ended with {code}", flush=True)
                if counts.kills.total() >= kills and counts.submissions > 2 * kills:
                    sys.exit((root / "killed/log.txt").read_text())
            driver = submit(root, "killed", killer.address)
            counts.submissions += 1
    return compare(root, counts, expected, steps_taken(crash))


def main() -> None:
    """Run the killer and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dir", type=Path, help="keep the jobs here")
    options = parser.parse_args()
    sound = True
    with tempfile.TemporaryDirectory(prefix="sp", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        root: Path = (options.dir or Path(scratch) / "jobs").resolve()
        crash = Path(scratch) / "crash"
        os.environ.update(environment(crash))
        write_job(root, tasks=12, steps=options.steps, every=20, gang=3, workers=2)
        killer = Killer(options.seed, Path(scratch) / "ray")
        try:
            straight = submit(root, "straight", killer.address)
            if straight.wait(SUBMISSION_SECONDS):
                sys.exit((root / "straight/log.txt").read_text())
            expected = steps_taken(crash)
            for number in range(options.rounds):
                for place in ("runs", "bundles"):
                    shutil.rmtree(root / "killed" / place, ignore_errors=True)
                (root / "killed/mlflow.db").unlink(missing_ok=True)
                counts = play(root, crash, killer, kills=options.kills, expected=expected)
                print(f"round {number}: {counts}", flush=True)
                sound = sound and counts.sound
        finally:
            killer.close()
    if not sound:
        sys.exit(1)


if __name__ == "__main__":
    main()
