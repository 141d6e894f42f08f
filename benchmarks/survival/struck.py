"""A submission, the stroke that falls into it, and whether it ends as it should."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.survival.marked import SIGNS, environment, kill_all, left_after, victims
from benchmarks.survival.two_nodes import TwoNodes
from orchestrator.exit_codes import DONE, INTERRUPTED, RAY_FAILED

KINDS = ("driver", "actor", "publisher", "raylet", "gcs")
NODES = (1, 2)
STROKES = {
    "SIGKILL": (signal.SIGKILL,),
    "SIGHUP": (signal.SIGHUP,),
    "SIGINT twice": (signal.SIGINT, signal.SIGINT),
}
BETWEEN_SECONDS = 0.3
LEFT_SECONDS = 10.0
SUBMISSION_SECONDS = 600.0
OF_A_DRIVER = {"SIGKILL": {-9}, "SIGHUP": {INTERRUPTED}, "SIGINT twice": {INTERRUPTED}}
EARLY = {"SIGKILL": set(), "SIGHUP": {-1, 129}, "SIGINT twice": {-2, 130}}
"""Codes of a driver that was struck before it held the lease of its job, when it may not have listened yet."""
SLOW_START = "Ray did not start in time"
"""Also what becomes of a submission that nobody struck, where other work keeps the machine busy."""
RAYS_OWN = re.compile(r"\[\d{4}-\d\d-\d\d |\d{4}-\d\d-\d\d .*(WARNING|INFO) ")
"""How lines begin that Ray's core writes from within the process."""
ENDS = ("error: ", "interrupted")


@dataclass(frozen=True)
class Stroke:
    """What is struck, how, and when.

    Attributes:
        kind: of victim.
        name: of the stroke.
        delay: seconds from the victim's first sign of life.
        pick: from 0 to 1, which of several victims.
    """

    kind: str
    name: str
    delay: float
    pick: float


class Submission:
    """A process that runs a job.

    Args:
        root: of the jobs.
        name: of the job.
        scratch: short directory for Ray's files.
        cluster: on which it runs; none: it starts a Ray of its own.
    """

    def __init__(self, root: Path, name: str, scratch: Path, cluster: TwoNodes | None) -> None:
        self._root = root
        self._mark = uuid.uuid4().hex
        self._of_ray = self._mark if cluster is None else cluster.mark
        self._cluster = cluster
        self._log = scratch / "said.txt"
        variables = {**environment(self._mark), "RAY_TMPDIR": str(scratch)}
        if cluster is not None:
            variables |= {"RAY_ADDRESS": cluster.address, "RAY_AUTH_MODE": "disabled"}
        with self._log.open("wb") as log:
            self._driver = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", "run", str(root / name / "job.yaml")],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Under nohup it is ignored by whoever is begun.
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
            )
        self._lease = root / name / "runs" / name / "lease.json"
        self._began = time.monotonic()
        self._struck_at, self._early = 0.0, False

    @property
    def code(self) -> int | None:
        return self._driver.poll()

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def watch(self) -> dict[str, float]:
        """Wait for the end; returns for how many seconds each kind of victim was there."""
        seen: dict[str, list[float]] = {}
        while self._driver.poll() is None:
            for kind in SIGNS:
                if victims(self._of_ray, kind):
                    seen.setdefault(kind, []).append(time.monotonic())
            time.sleep(0.1)
        lives = {kind: times[-1] - times[0] for kind, times in seen.items()}
        return {"driver": time.monotonic() - self._began, **lives}

    def strike(self, stroke: Stroke) -> bool:
        """Wait for the victim and its moment, and strike; returns whether it was still there."""
        while not self._victims(stroke.kind):
            if not self._runs():
                return False
            time.sleep(0.1)
        moment = time.monotonic() + stroke.delay
        while time.monotonic() < moment:
            if not self._runs():
                return False
            time.sleep(0.02)
        found = self._victims(stroke.kind)
        if not found or self._driver.poll() is not None:
            return False
        victim = found[int(stroke.pick * len(found))]
        self._struck_at, self._early = time.monotonic(), not self._holds_lease()
        for number in STROKES[stroke.name]:
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(number)
            if number == signal.SIGINT:
                time.sleep(BETWEEN_SECONDS)
        return True

    def end(self, stroke: Stroke | None) -> dict[str, Any]:
        """Wait for the end; returns how it went."""
        faults: list[str] = []
        struck = self._struck_at or time.monotonic()
        try:
            self._driver.wait(SUBMISSION_SECONDS)
        except subprocess.TimeoutExpired:
            faults.append(f"did not end within {SUBMISSION_SECONDS:.0f} s")
            self._driver.kill()
            self._driver.wait()
        seconds = time.monotonic() - struck
        left = left_after(self._of_ray, LEFT_SECONDS, only_workers=self._cluster is not None)
        if self._cluster is not None:
            left += left_after(self._mark, 0.0, only_workers=False)
        kill_all(self._mark)
        faults += [f"left after {LEFT_SECONDS:.0f} s: {title}" for title in left]
        slow = self.code == RAY_FAILED and SLOW_START in self.said
        faults += self._wrong_end(stroke, slow=slow)
        if faults:
            (self._root / f"said-{self._mark}.txt").write_text(self.said)
        moment = round(self._struck_at - self._began, 1) if self._struck_at else None
        end = {"at": moment, "code": self.code, "seconds": round(seconds, 1), "left": left, "faults": faults}
        return end | ({"slow": True} if slow else {})

    def _victims(self, kind: str) -> list[psutil.Process]:
        if kind != "driver":
            return victims(self._of_ray, kind)
        with suppress(psutil.NoSuchProcess):
            return [psutil.Process(self._driver.pid)]
        return []

    def _holds_lease(self) -> bool:
        try:
            return bool(json.loads(self._lease.read_text())["content"]["pid"] == self._driver.pid)
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """End it without further ado."""
        self._driver.kill()
        self._driver.wait()
        kill_all(self._mark)

    def _runs(self) -> bool:
        return self._driver.poll() is None and time.monotonic() - self._began < SUBMISSION_SECONDS

    def _wrong_end(self, stroke: Stroke | None, *, slow: bool) -> list[str]:
        said = [line for line in self.said.splitlines() if line.strip() and not RAYS_OWN.match(line)]
        what = "nothing" if stroke is None else f"{stroke.name} of {stroke.kind}"
        expected = {DONE, RAY_FAILED} if slow else {DONE}
        if stroke is not None and stroke.kind == "driver":
            expected |= OF_A_DRIVER[stroke.name]
            if self._early:
                expected |= EARLY[stroke.name]
        elif stroke is not None:
            expected |= {RAY_FAILED}
        faults = [] if self.code in expected else [f"{what}: exit code {self.code}: {' / '.join(said[-3:])}"]
        if "Traceback" in self.said:
            faults.append(f"{what}: a traceback: {' / '.join(said[-8:])}")
        ends = [line for line in said if line.startswith(ENDS)]
        wanted = self.code not in (DONE, -signal.SIGKILL, -signal.SIGHUP, -signal.SIGINT)
        if wanted and (len(ends) != 1 or said[-1] != ends[0]):
            faults.append(f"{what}: not one sentence at the end: {' / '.join(said[-5:])}")
        return faults
