"""Gangs that were measured once on a machine stay as they are."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from infra.errors import StorageError
from orchestrator.cluster.interruption import Interruption
from orchestrator.cluster.session import ActorSize
from orchestrator.job import load_job
from orchestrator.tuning import gang_width as measured_gangs
from orchestrator.tuning.gang_width import place_of, remember, remembered
from orchestrator.tuning.gangs import GangPlan
from orchestrator.tuning.resolved import ResolvedSettings
from orchestrator.tuning.tuning import Tuning, TuningContext
from tests.orchestrator.tuning.test_gangs import lanes
from workers.tuning.run.probe import Measured

SIZE = ActorSize(cpus=1.0, gpus=0.0, workers=2)
SLOW = [Measured(1, 0.25, 1000), Measured(2, 0.5, 3000)]
FAST = [Measured(1, 0.25, 1000), Measured(2, 0.3, 3000)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHPROMPT_CACHE", str(tmp_path / "cache"))


def test_what_was_measured_is_read_again() -> None:
    place = place_of(lanes(2, 1), most=3, size=SIZE, precision="fp32")
    assert remembered(place) is None
    remember(place, SLOW)
    assert remembered(place) == SLOW


@pytest.mark.parametrize("other", [{"most": 2}, {"size": ActorSize(2.0, 0.0, 2)}, {"precision": "bf16"}])
def test_other_circumstances_are_measured_anew(other: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"most": 3, "size": SIZE, "precision": "fp32"}
    assert place_of(lanes(2, 1), **usual) == place_of(lanes(2, 1)[::-1], **usual)
    assert place_of(lanes(2, 1), **usual) != place_of(lanes(2, 1), **{**usual, **other})
    assert place_of(lanes(2, 1), **usual) != place_of(lanes(2, 2), **usual)


def test_other_machines_are_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    here = place_of(lanes(2), most=2, size=SIZE, precision="fp32")
    monkeypatch.setattr(measured_gangs, "_cpu_model", lambda: "another")
    assert place_of(lanes(2), most=2, size=SIZE, precision="fp32") != here


@pytest.mark.parametrize("content", [b"{", b"7", b'[{"lanes": 1}]'])
def test_a_damaged_file_is_named(content: bytes) -> None:
    place = Path(place_of(lanes(2), most=2, size=SIZE, precision="fp32"))
    place.write_bytes(content)
    with pytest.raises(StorageError, match=f"{place.name} .*widths are measured again"):
        remembered(str(place))


def test_fresh_runs_of_a_job_form_the_same_gangs_though_times_vary(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("backbone: b\ntasks: t.yaml\nprecision: fp32\n", encoding="utf-8")
    job = load_job(str(tmp_path / "job.yaml"))
    formed: list[list[GangPlan]] = []
    for times in (FAST, SLOW):
        with mock.patch.object(measured_gangs, "measure_on_worker", return_value=times):
            storage = str(tmp_path / f"runs{len(formed)}")
            context = TuningContext(
                job=job.model_copy(update={"storage": storage}),
                resolved=ResolvedSettings(storage, anew=False, say=mock.Mock()),
                precision="fp32",
                shared=mock.Mock(),
                size=SIZE,
                outcomes=mock.Mock(),
                submission="",
                spool=str(tmp_path),
                retry_failed=False,
                interruption=Interruption(),
            )
            fresh = Tuning(context, view=mock.Mock(), on_lanes_ended=mock.Mock())
            formed.append(fresh.gangs(lanes(4), "first"))
    assert formed[0] == formed[1]
    assert [gang.width for gang in formed[0]] == [2, 2]


def test_what_others_could_write_is_neither_read_nor_written(tmp_path: Path) -> None:
    place = Path(place_of(lanes(2), most=2, size=SIZE, precision="fp32"))
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    place.parent.chmod(0o777)
    with pytest.raises(StorageError, match=r"gangs can be written by other users .* another place by SPEECHPROMPT_CAC"):
        place_of(lanes(2), most=2, size=SIZE, precision="fp32")
    assert place.is_relative_to(tmp_path)


def test_a_user_without_a_home_is_told_what_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPEECHPROMPT_CACHE")
    monkeypatch.setattr(Path, "home", mock.Mock(side_effect=RuntimeError("Could not determine home directory.")))
    with pytest.raises(StorageError, match="no home directory; name a place by SPEECHPROMPT_CACHE"):
        place_of(lanes(2), most=2, size=SIZE, precision="fp32")
