"""The closing table, and the report it is made from."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from infra import object_storage
from infra.errors import JobError, TuningError
from orchestrator.job import Job, load_job
from orchestrator.progress import results_console
from orchestrator.report import (
    BaselineFigures,
    EnsembleFigures,
    JobReport,
    TaskRow,
    job_root,
    read_report,
    report_json,
    report_table,
    write_report,
)
from task_specs.recipe import Recipe
from tests.fixtures.tuning import lane_spec
from workers.baselines.result import BaselineResult
from workers.tuning.results.final_metrics import FinalMetrics
from workers.tuning.results.outcome import LaneOutcome


def outcome(seed: int, test: float, *, point: str = "", error: str | None = None) -> LaneOutcome:
    figures = {
        "valid": {"accuracy": 0.5 + seed / 10, "macro_f1": 0.1, "loss": 1.0},
        "test": {"accuracy": test, "macro_f1": 0.2, "loss": 1.0},
    }
    return LaneOutcome(
        key=str(seed),
        spec=lane_spec(seed=seed),
        lm_fingerprint="a" * 64,
        error=error,
        stopped="diverged" if error else "steps",
        point=point,
        steps=9,
        best_step=6,
        figures={} if error else figures,
        trained=100,
        special_rows=0,
        mapped_units=None,
        seconds=1.0,
    )


def make_job(storage: str, directory: Path) -> Job:
    file = directory / "job.yaml"
    file.write_text(f"name: toy\nbackbone: backbone\ntasks: tasks/*.yaml\nstorage: {storage}\n", encoding="utf-8")
    return load_job(str(file))


def report(*rows: TaskRow) -> JobReport:
    return JobReport(job="toy", backbone="tiny", tasks=list(rows))


PUBLISHED = TaskRow(
    task="a", metric="accuracy", status="published", valid=0.9, test=0.812, test_std=0.021, seeds=3, bundle="/bundles/a"
)
FAILED = TaskRow(
    task="b", metric="accuracy", status="failed", error="labels [/red] of [b]; correct them", quarantined=4
)


def printed(shown: JobReport, capsys: pytest.CaptureFixture[str]) -> list[str]:
    results_console().print(report_table(shown))
    return capsys.readouterr().out.splitlines()


def test_figures_are_means_over_the_seeds_of_the_best_point() -> None:
    """``a`` has the best test figures, ``c`` lost a seed; validation chooses ``b``."""
    row = TaskRow(task="toy", metric="accuracy").with_outcomes(
        [
            outcome(0, 0.9, point="a"),
            outcome(1, 0.9, point="a"),
            outcome(1, 0.7, point="b"),
            outcome(2, 0.8, point="b"),
            outcome(9, 0.9, point="c"),
            outcome(8, 0.0, point="c", error="toy/seed8 c: not finite"),
        ]
    )
    assert (row.point, row.points) == ("b", 3)
    assert row.valid == pytest.approx(0.65)
    assert row.test == pytest.approx(0.75)
    assert row.test_std == pytest.approx(statistics.stdev([0.7, 0.8]))
    assert (row.seeds, row.steps, row.trained) == (2, 54, 100)


def test_figures_are_those_of_the_metric_of_the_task() -> None:
    row = TaskRow(task="toy", metric="macro_f1").with_outcomes([outcome(0, 0.7)])
    assert (row.valid, row.test, row.test_std, row.seeds) == (0.1, 0.2, 0.0, 1)


def test_the_interval_is_that_of_the_mean_over_seeds() -> None:
    """Seeds that err on the same draws do not make each other's errors smaller; those that err on others do."""
    draws = np.random.default_rng(0).normal(0.8, 0.05, 1000)
    figures = {"valid": {"accuracy": 0.5, "loss": 1.0}, "test": {"accuracy": 0.8, "ece": 0.1}}
    seeds = [
        outcome(seed, 0.8).model_copy(update={"figures": figures, "draws": row.tolist(), "temperatures": [1.0 + seed]})
        for seed, row in enumerate([draws, draws, 1.6 - draws])
    ]
    alike = TaskRow(task="toy", metric="accuracy").with_outcomes(seeds[:2])
    assert alike.test_interval == pytest.approx((0.8 - 1.96 * 0.05, 0.8 + 1.96 * 0.05), abs=0.01)
    assert alike.ece == pytest.approx(0.1)
    assert alike.temperatures == [1.0]
    opposite = TaskRow(task="toy", metric="accuracy").with_outcomes(seeds[1:])
    assert opposite.test_interval == pytest.approx((0.8, 0.8))


def test_the_published_temperature_is_that_of_the_lowest_error_rate() -> None:
    def lane(seed: int, rate: float) -> LaneOutcome:
        figures = {"eer": rate, "loss": 1.0}
        made = outcome(seed, 0.0).model_copy(update={"figures": {"valid": figures, "test": figures}})
        spec = made.spec.model_copy(update={"metric": "eer"})
        return made.model_copy(update={"spec": spec, "temperatures": [1.0 + seed]})

    row = TaskRow(task="toy", metric="eer").with_outcomes([lane(0, 0.3), lane(1, 0.1), lane(2, 0.2)])
    assert row.temperatures == [2.0]
    assert (row.test_interval, row.ece) == (None, None)


def test_what_prompts_add_is_told_where_a_sweep_tried_none() -> None:
    def lane(seed: int, length: int, rate: float, test: float) -> LaneOutcome:
        made = outcome(seed, test, point=f"l{length} lr{rate:g}")
        recipe = Recipe(prompt_length=length, learning_rate=rate)
        valid = test - 0.1
        figures = {split: {"accuracy": value, "loss": 1.0} for split, value in (("valid", valid), ("test", test))}
        return made.model_copy(update={"spec": made.spec.model_copy(update={"recipe": recipe}), "figures": figures})

    without = [lane(seed, 0, 0.1, test) for seed, test in ((0, 0.70), (1, 0.72))]
    best = [lane(seed, 5, 0.1, test) for seed, test in ((0, 0.75), (1, 0.77))]
    others = [lane(seed, 3, 0.1, 0.5) for seed in (0, 1)] + [lane(seed, 9, 0.2, 0.9) for seed in (0, 1)]
    row = TaskRow(task="toy", metric="accuracy").with_outcomes([*without, *best, *others])
    assert row.prompts_add == pytest.approx(0.05)
    assert row.point == "l9 lr0.2"
    worse = TaskRow(task="toy", metric="accuracy").with_outcomes([*without, *others[:2]])
    assert worse.prompts_add == pytest.approx(-0.21)
    for lanes in (best, without, [*without, *others[2:]]):
        assert TaskRow(task="toy", metric="accuracy").with_outcomes(lanes).prompts_add is None


def test_seeds_are_shown_alone_and_together() -> None:
    together = FinalMetrics(
        {"valid": {"accuracy": 0.8}, "test": {"accuracy": 0.9, "ece": 0.01}}, [2.5], {"accuracy": (0.85, 0.95)}
    )
    lanes = [outcome(1, 0.7), outcome(2, 0.8)]
    best, ensemble = (
        TaskRow(task="toy", metric="accuracy", publish=publish).with_outcomes(lanes, together)
        for publish in ("best", "ensemble")
    )
    assert best.single == lanes[1].figures["test"]["accuracy"]
    assert best.ensemble == EnsembleFigures(valid=0.8, test=0.9, test_interval=(0.85, 0.95), ece=0.01)
    assert (best.of_bundle, ensemble.of_bundle) == (best.test, 0.9)
    assert (best.temperatures, ensemble.temperatures) == ([], [2.5])
    undefined = FinalMetrics({split: {"accuracy": float("nan")} for split in ("valid", "test")}, [1.0], {})
    row = TaskRow(task="toy", metric="accuracy").with_outcomes(lanes, undefined)
    assert row.ensemble == EnsembleFigures()
    assert TaskRow.model_validate_json(row.model_dump_json()) == row
    alone = TaskRow(task="toy", metric="accuracy").with_outcomes([outcome(1, 0.7)])
    assert (alone.single, alone.ensemble) == (None, None)


def test_the_row_names_the_lanes_that_its_figures_are_of() -> None:
    row = TaskRow(task="toy", metric="accuracy").with_outcomes([outcome(1, 0.7), outcome(2, 0.8)])
    assert row.lanes == ["1", "2"]


def test_baselines_are_shown_at_the_metric_of_the_task() -> None:
    figures = {"valid": {"accuracy": 0.9, "macro_f1": 0.5}, "test": {"accuracy": 0.8, "macro_f1": 0.4}}
    found = {
        "ngrams": BaselineResult(key="k", kind="ngrams", figures=figures, trained=7, settings={"C": 1.0}),
        "probe": BaselineResult(key="l", kind="probe", error="no room"),
    }
    row = TaskRow(task="toy", metric="macro_f1").with_baselines(found)
    assert row.baselines == {
        "ngrams": BaselineFigures(valid=0.5, test=0.4, trained=7, settings={"C": 1.0}),
        "probe": BaselineFigures(error="no room"),
    }


def test_without_a_point_that_went_well_there_are_no_figures() -> None:
    with pytest.raises(TuningError, match="not finite"):
        TaskRow(task="toy", metric="accuracy").with_outcomes([outcome(0, 0.9), outcome(1, 0.0, error="not finite")])


def test_a_job_is_complete_when_every_task_is_published() -> None:
    assert report(PUBLISHED).complete
    assert not report(PUBLISHED, FAILED).complete
    assert not report(PUBLISHED, TaskRow(task="c")).complete


def test_a_report_is_read_as_it_was_written(store_root: str, tmp_path: Path) -> None:
    job = make_job(store_root, tmp_path)
    with pytest.raises(JobError, match=r"job\.yaml: nothing is stored of job 'toy'.*speechprompt run"):
        read_report(job)
    write_report(job, report(FAILED))
    write_report(job, report(PUBLISHED, FAILED))
    assert read_report(job) == report(PUBLISHED, FAILED)
    assert job_root(job) == f"{store_root}/toy"


def test_a_damaged_report_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    job = make_job(str(tmp_path / "runs"), tmp_path)
    object_storage.write_bytes(f"{job_root(job)}/report.json", b'{"job": "toy", "of_another_version": 1}')
    with pytest.raises(JobError, match=r"report\.json is .*run the job again") as caught:
        read_report(job)
    assert "\n" not in str(caught.value)


def test_the_table_shows_percents_spread_and_errors_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(report(PUBLISHED, FAILED, TaskRow(task="c", family="[F]")), capsys)
    by_task = {line.split()[1]: line for line in lines if line.startswith("│")}
    assert "90.0" in by_task["a"]
    assert "81.2 ± 2.1" in by_task["a"]
    ends = {line.split()[0]: line for line in lines if line[:1] in ("a", "b", "c")}
    assert "/bundles/a" in ends["a"]
    assert "labels [/red] of [b]; correct them" in ends["b"]
    assert "unfinished" in ends["c"]
    assert "[F]" in by_task["c"]
    assert "quarantined" in "\n".join(lines)
    assert "quarantined" not in "\n".join(printed(report(PUBLISHED), capsys))


def test_the_table_shows_intervals_calibration_and_which_way_is_better(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {"metric": "eer", "positive": "spoof", "test_interval": (0.7801, 0.8349), "ece": 0.0312}
    lines = printed(report(PUBLISHED.model_copy(update=shown), FAILED), capsys)
    [row] = [line for line in lines if line.startswith("│ a")]
    for part in ("eer ↓", "78.0–83.5", "3.1"):
        assert part in row


def test_recordings_that_are_too_long_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    windows = PUBLISHED.model_copy(update={"long": 12, "long_policy": "window"})
    [row] = [line for line in printed(report(windows, FAILED), capsys) if line.startswith("│ a")]
    assert "12 in windows" in row
    assert "too long" not in "\n".join(printed(report(PUBLISHED), capsys))


def test_few_shots_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    few = PUBLISHED.model_copy(update={"shots": 10, "examples": {"train": 120}})
    assert "120 (10-shot)" in "\n".join(printed(report(few), capsys))


def test_the_spread_of_one_seed_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "±" not in "\n".join(printed(report(PUBLISHED.model_copy(update={"seeds": 1, "test_std": 0.0})), capsys))


def test_programs_get_every_field() -> None:
    parsed = json.loads(report_json(report(PUBLISHED, FAILED)))
    assert JobReport.model_validate(parsed) == report(PUBLISHED, FAILED)
    assert parsed["tasks"][0]["test"] == 0.812
