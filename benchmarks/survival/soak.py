"""Hypothesis: a job of many small tasks costs no more at its end than at its beginning.

One job of N tasks on two CPUs, in a Ray of its own. While it runs, the memory of its driver and of its workers and the
use of Ray's object store are sampled. Headlines: growth between the second and the last quarter of the tuning (want:
flat), bundles that verify (want: all), and what the job takes beside tuning, per task, as a share of the tuning time.

    python -m benchmarks.survival.soak [--tasks N] [--steps N] [--dir DIR]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from tests.fixtures.outcomes import stored_outcomes
from tests.fixtures.tiny_job import write_units_task, write_yaml
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import write_backbone
from workers.bundle.read import find, verify

MIB = 1 << 20
SAMPLE_SECONDS = 3.0
STORE_EVERY = 10
"""Samples between two looks at the object store, which cost a second of processor time each."""
CPUS = 2
KINDS = ("ray::_Inner", "ray::_Publishing")
"""How the command lines begin of workers that tune, and of the one that publishes."""
ENVIRONMENT = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}


@dataclass
class Sample:
    """Memory at one moment, in bytes: private of the driver, of the largest actor that tunes and of the one that
    publishes, and used of the object store; processes of the two kinds; and bundles published."""

    seconds: float
    driver: int
    actor: int
    publisher: int
    processes: int
    store: int
    published: int


@dataclass
class Soak:
    """One job under observation."""

    root: Path
    tasks: int
    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0
    code: int = -1

    def run(self, address: str) -> None:
        """Run the job to its end."""
        started = time.monotonic()
        with (self.root / "log.txt").open("w") as log:
            job = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", "run", str(self.root / "job.yaml")],
                env={**os.environ, **ENVIRONMENT, "RAY_ADDRESS": address},
                stdout=log,
                stderr=log,
            )
            driver = psutil.Process(job.pid)
            while job.poll() is None:
                self._sample(driver, address, time.monotonic() - started)
                time.sleep(SAMPLE_SECONDS)
        self.seconds, self.code = time.monotonic() - started, job.returncode

    def _sample(self, driver: psutil.Process, address: str, seconds: float) -> None:
        try:
            own = driver.memory_info()
        except psutil.NoSuchProcess:
            return
        actors, publishers = ([size for process in _workers(of) if (size := _private(process))] for of in KINDS)
        fresh = len(self.samples) % STORE_EVERY == 0
        store = _store(address) if fresh else self.samples[-1].store
        published = len(list((self.root / "bundles").glob("*/*/bundle.json")))
        self.samples.append(
            Sample(
                seconds,
                driver=own.rss - own.shared,
                actor=max(actors, default=0),
                publisher=max(publishers, default=0),
                processes=len(actors) + len(publishers),
                store=store,
                published=published,
            )
        )

    def quarter(self, number: int) -> list[Sample]:
        """Samples of a quarter of the time in which bundles appeared."""
        working = [sample for sample in self.samples if 0 < sample.published < self.tasks]
        size = max(1, len(working) // 4)
        return working[(number - 1) * size : number * size]


def _workers(kind: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["cmdline"]):
        if " ".join(process.info["cmdline"] or ()).startswith(kind):
            yield process


def _private(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
    except psutil.NoSuchProcess:
        return 0
    return int(memory.rss - memory.shared)


def _store(address: str) -> int:
    """Bytes in Ray's object store."""
    said = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", "memory", "--address", address, "--stats-only"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **ENVIRONMENT},
    ).stdout
    found = re.search(r"Plasma memory usage ([\d.]+) MiB", said)
    assert found, said
    return int(float(found[1]) * MIB)


@contextmanager
def _cluster() -> Iterator[str]:
    """A Ray of two CPUs; its address."""
    import ray

    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="sp", dir="/tmp", ignore_cleanup_errors=True) as directory:
        ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False, _temp_dir=directory)
        yield str(ray.get_runtime_context().gcs_address)
        ray.shutdown()


def write_job(root: Path, *, tasks: int, steps: int) -> None:
    """Tasks of two to six classes on units that counting them solves, and a backbone."""
    rng = np.random.default_rng(0)
    recipe = {"steps": steps, "evaluate_every": max(1, steps // 5)}
    for number in range(tasks):
        classes = {"label": int(rng.integers(2, 7))}
        write_units_task(root / "tasks", f"task-{number:03d}", classes, data_seed=number, recipe=recipe)
    write_backbone(tiny_backbone(), str(root / "backbone"))
    job = {"name": "soak", "backbone": "backbone", "tasks": "tasks/*.yaml", "gang": 4, "baselines": []}
    write_yaml(root / "job.yaml", job)


def verified(root: Path) -> int:
    """Bundles that are whole."""
    count = 0
    for task in sorted((root / "bundles").iterdir()):
        verify(find(str(task)).uri)
        count += 1
    return count


def report(soak: Soak, console: Console) -> None:
    """Print what was seen."""
    tuning = sum(outcome.seconds for outcome in stored_outcomes(soak.root / "runs/soak/lanes"))
    console.print(
        f"{soak.tasks} tasks, {verified(soak.root)} bundles verified, exit code {soak.code}; {soak.seconds:.0f} s on "
        f"{CPUS} actors, {tuning:.0f} actor seconds of tuning"
    )
    table = Table("MiB, mean of a quarter", *(f"{number}." for number in range(1, 5)), "growth 2. to 4.")
    label = {"actor": "largest actor", "store": "object store", "processes": "worker processes (number)"}
    for name in ("driver", "actor", "publisher", "processes", "store"):
        scale = 1 if name == "processes" else MIB
        means = [fmean(getattr(s, name) for s in soak.quarter(number)) / scale for number in range(1, 5)]
        growth = f"{100 * (means[3] / means[1] - 1):+.1f} %" if means[1] else ""
        table.add_row(label.get(name, name), *(f"{mean:.1f}" for mean in means), growth)
    console.print(table)
    first, last = soak.quarter(1)[0], soak.quarter(4)[-1]
    steady = CPUS * (last.seconds - first.seconds) / (last.published - first.published)
    per_task = tuning / soak.tasks
    console.print(
        f"per task: {per_task:.2f} actor seconds of tuning, {steady - per_task:.2f} beside it in mid-job "
        f"({100 * (steady - per_task) / per_task:.0f} % of tuning), "
        f"{(CPUS * soak.seconds - tuning) / soak.tasks:.2f} with start and end "
        f"({100 * (CPUS * soak.seconds - tuning) / tuning:.0f} %)"
    )


def main() -> None:
    """Run the soak and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--dir", type=Path, help="keep the job here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root: Path = (options.dir or Path(scratch)).resolve()
        write_job(root, tasks=options.tasks, steps=options.steps)
        soak = Soak(root, options.tasks)
        with _cluster() as address:
            soak.run(address)
        if soak.code:
            sys.exit((root / "log.txt").read_text())
        report(soak, Console(width=120))


if __name__ == "__main__":
    main()
