"""A job that is killed and submitted again until it is done, and what it is then compared with."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fixtures.tiny_job import write_units_task, write_yaml
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import write_backbone
from workers.bundle.manifest import PROMPT_FILE
from workers.bundle.read import find, verify

INJECTED = Path(__file__).parent / "injected"
TIMES = ("tuning/seconds", "tuning/utterances_per_second", "tasks_published")
"""Metrics that say how fast a machine was, or how a submission ended."""
SUBMISSION_SECONDS = 900.0


def environment(crash: Path) -> dict[str, str]:
    """Of all processes of a cluster in which ``injected/sitecustomize.py`` is at work; the directory is made."""
    crash.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(INJECTED), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    return {
        "PYTHONPATH": path,
        "SPEECHPROMPT_CRASH": str(crash),
        "RAY_AUTH_MODE": "disabled",
        "RAY_worker_niceness": "0",
    }


def write_job(root: Path, *, tasks: int, steps: int, every: int, gang: int, workers: int) -> None:
    """Tasks of one lane each, a backbone and a job."""
    for number in range(tasks):
        # Of different lengths, so that lanes end one after another.
        recipe = {"steps": steps + number % 3 * every, "evaluate_every": every}
        write_units_task(
            root / "tasks", f"task-{number:02d}", {"label": 2 + number % 4}, data_seed=number, recipe=recipe
        )
    write_backbone(tiny_backbone(), str(root / "backbone"))
    for name in ("straight", "killed"):
        job: dict[str, object] = {
            "name": name,
            "backbone": "../backbone",
            "tasks": "../tasks/*.yaml",
            "gang": gang,
            "resources": {"workers": workers, "cpus": 1},
            "baselines": [],
        }
        write_yaml(root / name / "job.yaml", job)


@dataclass
class Counts:
    """What is left of the kills."""

    kills: Counter[str] = field(default_factory=Counter)
    submissions: int = 0
    steps: int = 0
    repeated: int = 0
    missing: int = 0
    points: int = 0
    points_lost: int = 0
    points_twice: int = 0
    runs_twice: int = 0
    bundles: int = 0
    differing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = ", ".join(f"{count} {name}" for name, count in sorted(self.kills.items()))
        return (
            f"kills {self.kills.total()} ({kills}); resumes {self.submissions - 1}; "
            f"optimizer steps {self.steps}, repeated {self.repeated}, never taken {self.missing}; MLflow points "
            f"{self.points}, lost {self.points_lost}, twice {self.points_twice}, runs twice {self.runs_twice}; "
            f"bundles {self.bundles}, differing {len(self.differing)}"
            + (f" ({', '.join(self.differing)})" if self.differing else "")
        )

    @property
    def sound(self) -> bool:
        return not (self.missing or self.points_lost or self.points_twice or self.runs_twice or self.differing)


def submit(root: Path, name: str, address: str) -> subprocess.Popen[bytes]:
    """Start a submission; what it says is appended to ``log.txt`` beside its job file."""
    with (root / name / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "run", str(root / name / "job.yaml")],
            env={**os.environ, "RAY_ADDRESS": address},
            stdout=log,
            stderr=log,
        )


def steps_taken(crash: Path) -> Counter[str]:
    """How often each step of each lane was taken since the last call."""
    log = crash / "steps.log"
    lines = log.read_text().splitlines() if log.exists() else []
    # Not removed: processes keep it open.
    os.truncate(log, 0)
    return Counter(lines)


def compare(root: Path, counts: Counts, straight: Counter[str], killed: Counter[str]) -> Counts:
    """Count what the killed job repeated, lost, doubled or changed."""
    counts.steps = len(straight)
    counts.missing = len(straight.keys() - killed.keys())
    counts.repeated = killed.total() - len(killed)
    expected, found = _points(root / "straight"), _points(root / "killed")
    counts.points = len(expected)
    counts.points_lost = sum(1 for point in expected if point not in found)
    counts.points_twice = sum(count - 1 for count in Counter(point[:3] for point in found.elements()).values())
    counts.runs_twice = _runs_twice(root / "killed")
    for task in sorted((root / "tasks").glob("*.yaml")):
        counts.bundles += 1
        places = [str(root / name / "bundles" / task.stem) for name in ("straight", "killed")]
        prompts = [Path(verify(find(place).uri).uri, PROMPT_FILE).read_bytes() for place in places]
        versions = [find(place).version for place in places]
        if prompts[0] != prompts[1] or versions[0] != versions[1]:
            counts.differing.append(task.stem)
        # One version: no kill left another one behind.
        if len(list(Path(places[1]).glob("*/bundle.json"))) != 1:
            counts.differing.append(f"{task.stem} has other versions")
    return counts


def _points(job: Path) -> Counter[tuple[str, str, int, float]]:
    """Metrics of all lanes: run, name, step, value."""
    with sqlite3.connect(job / "mlflow.db") as database:
        rows: Iterable[tuple[str, str, int, float, int]] = database.execute(
            "select runs.name, metrics.key, metrics.step, metrics.value, metrics.is_nan from metrics "
            "join runs on runs.run_uuid = metrics.run_uuid"
        )
        return Counter(
            (run, key, step, math.inf if is_nan else value)
            for run, key, step, value, is_nan in rows
            if key not in TIMES
        )


def _runs_twice(job: Path) -> int:
    with sqlite3.connect(job / "mlflow.db") as database:
        names = [name for (name,) in database.execute("select name from runs") if not name.startswith("submission")]
    return len(names) - len(set(names))


def arm(crash: Path, point: str, hit: int, driver: int) -> None:
    """Kill at a point."""
    part = crash / "arming.json"
    part.write_text(json.dumps({"point": point, "hit": hit, "driver": driver}))
    part.replace(crash / "armed.json")
