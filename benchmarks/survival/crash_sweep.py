"""Hypothesis: wherever a job is killed at its input and output, submitting it again gives the same bytes.

One job of small tasks, in a Ray cluster that outlives it. Each submission is killed, driver and whoever came to the
point, at the next of the named points: before, in the middle of, and after each write of examples, gangs, checkpoints,
outcomes, bundles, metrics and reports. The last submission is left alone. Headlines: kills, resumes, steps repeated;
and points lost, points twice, bundles differing from those of a job that was not killed (want: 0).

    python -m benchmarks.survival.crash_sweep [--dir DIR] [--points NAME ...]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.survival.survivor import (
    SUBMISSION_SECONDS,
    Counts,
    arm,
    compare,
    environment,
    steps_taken,
    submit,
    write_job,
)

POINTS = [
    "examples:torn",
    "examples:after",
    "gangs:before",
    "gangs:after",
    "metric-run:after",
    "metric-append:torn",
    "checkpoint-tensors:after",
    "checkpoint-upload:before",
    "checkpoint-upload:torn",
    "checkpoint-upload:after",
    "experiment-state:before",
    "experiment-state:after",
    "metric-append:before",
    "metric-flush:before",
    "metric-flush:after",
    "metric-confirm:before",
    "outcome-prompt:torn",
    "outcome-prompt:after",
    "outcome:torn",
    "outcome:after",
    "bundle-prompt:torn",
    "bundle-card:before",
    "bundle-commit:torn",
    "bundle-commit:after",
    "bundle-latest:torn",
    "bundle-latest:after",
    "report:torn",
    "report:after",
]
"""In about the order in which a job comes to them."""
HITS = {"checkpoint-upload:torn": 2, "experiment-state:after": 3, "metric-flush:after": 2}
"""At which time that a process comes to a point; else the first."""


def sweep(root: Path, crash: Path, points: list[str], address: str) -> tuple[Counts, list[str]]:
    """Kill a job at each point; returns the counts, and the points to which it did not come."""
    counts, missed = Counts(), []
    straight = submit(root, "straight", address)
    if straight.wait(SUBMISSION_SECONDS):
        sys.exit((root / "straight/log.txt").read_text())
    expected = steps_taken(crash)
    for point in [*points, None]:
        (crash / "fired.json").unlink(missing_ok=True)
        (crash / "armed.json").unlink(missing_ok=True)
        started = time.monotonic()
        driver = submit(root, "killed", address)
        counts.submissions += 1
        if point is not None:
            arm(crash, point, HITS.get(point, 1), driver.pid)
        code = driver.wait(SUBMISSION_SECONDS)
        fired = (crash / "fired.json").exists()
        print(
            f"{point}: {'killed' if fired else f'ended with {code}'} after {time.monotonic() - started:.0f} s",
            flush=True,
        )
        if fired:
            counts.kills[str(point).partition(":")[0]] += 1
        elif point is not None:
            missed.append(point)
        elif code:
            sys.exit((root / "killed/log.txt").read_text())
    return compare(root, counts, expected, steps_taken(crash)), missed


def main() -> None:
    """Run the sweep and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, help="keep the jobs here")
    parser.add_argument("--points", nargs="+", default=POINTS, metavar="NAME")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sp", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        root: Path = (options.dir or Path(scratch) / "jobs").resolve()
        crash = Path(scratch) / "crash"
        os.environ.update(environment(crash))
        import ray

        write_job(root, tasks=8, steps=160, every=20, gang=2, workers=1)
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=f"{scratch}/ray")
        try:
            counts, missed = sweep(root, crash, options.points, str(ray.get_runtime_context().gcs_address))
        finally:
            ray.shutdown()
    print(counts)
    if missed:
        print(f"the job did not come to: {', '.join(missed)}")
    if missed or not counts.sound:
        sys.exit(1)


if __name__ == "__main__":
    main()
