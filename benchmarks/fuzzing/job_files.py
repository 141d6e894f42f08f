"""What a job writes and reads again, as kinds of stored files; ``COVERED`` says which of the job's list each holds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.fuzzing.job_lanes import LANE_KINDS, LANES_COVERED
from benchmarks.fuzzing.stored_kind import StoredKind
from orchestrator.cluster.lease import JobLease, read_lease
from orchestrator.job import Job, load_job
from orchestrator.job_files import begin_anew, first_attempt, note_failure, noted_failure
from orchestrator.job_status import DriverLog, job_status
from orchestrator.report import JobReport, TaskRow, read_report, write_report
from orchestrator.tuning import gang_width as measured_gangs
from orchestrator.tuning.gangs import DissolvedGangs, form_gangs, remember_gangs, remembered_gangs
from orchestrator.tuning.resolved import Found, ResolvedSettings
from tests.fixtures.tuning import lane_spec
from workers.baselines.result import BaselineResult, read_baseline_answers, read_result, write_result
from workers.evaluation.answers import Answers
from workers.job_store.files import (
    ATTEMPT,
    BASELINE,
    BASELINE_ANSWERS,
    DISSOLVED,
    DRIVER_STATUS,
    FAILURE_NOTE,
    GANG_STATUS,
    GANGS,
    LEASE,
    MEASURED_GANGS,
    REPORT,
    RESOLVED,
    UNIT_SHARD,
    JobFile,
)
from workers.speech.feature_cache import FeatureCache
from workers.speech.unit_cache import Quarantined, UnitCache
from workers.speech.units import deduplicate
from workers.tuning.orders import LaneOrder
from workers.tuning.run.probe import Measured
from workers.tuning.run.status import GangStatus, read_status, write_status

_NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
_NAMES: Final = ("one", "two")
"""Of the job whose files are read, and of another one."""


def _root(place: Path, number: int = 0) -> str:
    return str(place / "runs" / _NAMES[number])


@cache
def _described() -> Job:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "job.yaml"
        file.write_text("backbone: b\ntasks: t.yaml\n", encoding="utf-8")
        return load_job(str(file))


def _job(place: Path, number: int = 0) -> Job:
    return _described().model_copy(update={"name": _NAMES[number], "storage": str(place / "runs")})


def _cache(place: Path) -> UnitCache:
    return UnitCache(str(place / "units"), "f" * 64)


def _write_shard(place: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    clips = {f"clip{clip}": deduplicate(rng.integers(0, 100, 60)) for clip in range(2 * number, 2 * number + 2)}
    _cache(place).add({**clips, f"empty{number}": Quarantined("empty", "it has no samples; remove its row")})


def _read_shard(place: Path) -> object:
    return _cache(place).lookup(["clip0", "clip1", "empty0"]) or None


def _feature_cache(place: Path) -> FeatureCache:
    return FeatureCache(str(place / "units"), "f" * 64)


def _write_features(place: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    clips = {f"clip{clip}": rng.random((2, 3)).astype(np.float32) for clip in range(2 * number, 2 * number + 2)}
    _feature_cache(place).add(clips)


def _read_features(place: Path) -> object:
    return {key: found.tolist() for key, found in _feature_cache(place).lookup(["clip0", "clip1"]).items()} or None


def _read_attempt(place: Path) -> int | None:
    # Without the file, attempt 1 is right.
    there = (place / "runs" / _NAMES[0] / "attempt.json").is_symlink() or Path(_root(place), "attempt.json").exists()
    return first_attempt(_root(place)) if there else None


def _write_attempt(place: Path, number: int) -> None:
    for _ in range(number + 1):
        begin_anew(_root(place, number), [])


def _gang(place: Path, number: int = 0) -> str:
    return f"{_root(place, number)}/tune-{number}/gang000"


def _read_note(place: Path) -> str | None:
    noted = noted_failure(_gang(place))
    return None if noted is not None and noted.endswith(FAILURE_NOTE.then) else noted


def _lanes() -> list[LaneOrder]:
    return [LaneOrder(key=key, spec=lane_spec(), run_name=key, params={}) for key in "abcd"]


def _gangs(place: Path, number: int = 0) -> str:
    return f"{_root(place, number)}/gangs/tune-0.json"


def _write_gangs(place: Path, number: int) -> None:
    remember_gangs(_gangs(place, number), form_gangs(_lanes(), width=number + 1, actors=2))


def _dissolved(place: Path, number: int = 0) -> DissolvedGangs:
    return DissolvedGangs(f"{_root(place, number)}/gangs/tune-0-dissolved.json", lambda _: None)


def _resolved(place: Path, number: int = 0) -> ResolvedSettings:
    return ResolvedSettings(_root(place, number), anew=False, say=lambda _: None)


def _read_resolved(place: Path) -> Found | None:
    found = _resolved(place).known
    return None if found == Found() else found


def _write_lease(place: Path, number: int) -> None:
    with JobLease(_root(place, number), f"{_NAMES[number]}/1"):
        pass


def _write_baseline(place: Path, number: int) -> None:
    figures = {"test": {"accuracy": 0.5 + number / 10}}
    answers = Answers(np.arange(4)[:, None] % 2, np.full((4, 1), number), [2])
    write_result(f"{_root(place, number)}/baselines", BaselineResult(key="k", kind="ngrams", figures=figures), answers)


def _read_baseline(place: Path) -> object:
    root = f"{_root(place)}/baselines"
    result = read_result(root, "k")
    if result is None:
        return None
    return result, read_baseline_answers(root, result).to_bytes()


def _write_gang_status(place: Path, number: int) -> None:
    facts: dict[str, Any] = {"host": "node", "pid": number, "device": "cpu", "width": 2, "since": _NOON}
    status = GangStatus(gang="gang000", submission="one/1", updated=_NOON, lanes=[], **facts)
    write_status(f"{_root(place, number)}/status", status)


def _write_driver_status(place: Path, number: int) -> None:
    DriverLog(_job(place, number), "one/1", _NOON, tasks=2).enter("tuning", lanes=3 + number)


def _write_report(place: Path, number: int) -> None:
    rows = [TaskRow(task="toy", status="published", metric="accuracy", test=0.5 + number / 10)]
    write_report(_job(place, number), JobReport(job=_NAMES[number], backbone="tiny", tasks=rows))


def _measured(place: Path, number: int = 0) -> str:
    return str(place / "cache" / "gangs" / f"{number}.json")


def _write_measured(place: Path, number: int) -> None:
    measured_gangs.remember(_measured(place, number), [Measured(lanes=2 + number, seconds=0.5, memory=10)])


_DOCUMENTS: Final[dict[JobFile, tuple[str, Callable[[Path, int], object], Callable[[Path], Any]]]] = {
    ATTEMPT: ("attempt", _write_attempt, _read_attempt),
    LEASE: ("lease", _write_lease, lambda place: read_lease(_root(place))),
    GANGS: ("gangs", _write_gangs, lambda place: remembered_gangs(_gangs(place), _lanes())),
    DISSOLVED: (
        "dissolved-gangs",
        lambda place, number: _dissolved(place, number).add([f"gang{number}"]),
        lambda place: _dissolved(place).batches or None,
    ),
    RESOLVED: (
        "resolved-settings",
        lambda place, number: _resolved(place, number).width(9, lambda: 2 + number),
        _read_resolved,
    ),
    FAILURE_NOTE: (
        "failure-note",
        lambda place, number: note_failure(_gang(place, number), f"it ran out of memory {number} times; lower gang"),
        _read_note,
    ),
    BASELINE: ("baseline", _write_baseline, _read_baseline),
    GANG_STATUS: ("gang-status", _write_gang_status, lambda place: read_status(f"{_root(place)}/status/gang000.json")),
    DRIVER_STATUS: ("driver-status", _write_driver_status, lambda place: job_status(_job(place)).driver),
    REPORT: ("report", _write_report, lambda place: read_report(_job(place))),
    MEASURED_GANGS: ("measured-gangs", _write_measured, lambda place: measured_gangs.remembered(_measured(place))),
}

JOB_KINDS: Final[dict[str, StoredKind]] = {
    "unit-cache": StoredKind("a shard of the unit cache", _write_shard, _read_shard),
    "feature-cache": StoredKind("a shard of the feature cache", _write_features, _read_features),
    **LANE_KINDS,
    **{name: StoredKind(kind.place, write, read) for kind, (name, write, read) in _DOCUMENTS.items()},
}
COVERED: Final[dict[str, tuple[JobFile, ...]]] = {
    "unit-cache": (UNIT_SHARD,),
    "feature-cache": (UNIT_SHARD,),
    **LANES_COVERED,
    **{name: (kind,) for kind, (name, _, _) in _DOCUMENTS.items()},
    "baseline": (BASELINE, BASELINE_ANSWERS),
}
"""Files of the job's list by the kind that holds them."""
