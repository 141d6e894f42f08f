"""Report of a job: one row per task, stored in the job's storage and shown by ``results``."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from rich.console import Group
from rich.table import Table

from infra import object_storage
from infra.errors import DamagedFile, JobError, ObjectNotFound
from infra.printable import printable_json
from orchestrator.job import Job
from orchestrator.progress import as_text
from task_specs.metric import lower_is_better
from task_specs.published import PublishedResult
from workers.baselines.result import BaselineResult
from workers.baselines.verdict import TaskVerdict
from workers.evaluation.bootstrap import Interval, interval
from workers.job_store.files import REPORT
from workers.tuning.results.final_metrics import FinalMetrics
from workers.tuning.results.outcome import LaneOutcome, best_lane, best_point, by_point, prompts_add
from workers.tuning.results.unit_agreement import UnitAgreement

if TYPE_CHECKING:
    from orchestrator.plan import PlannedTask

_LONG = {"crop": "cropped", "window": "in windows"}
"""What was done with recordings that are too long, by the audio policy's ``too_long``."""


class BaselineFigures(BaseModel):
    """Metric of a baseline on a task, or why there is none.

    Attributes:
        valid, test: the task's metric on the validation and test splits.
        trained: number of trained parameters.
        settings: settings chosen on the validation split.
        error: why the baseline has no metrics.
    """

    model_config = ConfigDict(extra="forbid")

    valid: float | None = None
    test: float | None = None
    trained: int = 0
    settings: dict[str, JsonValue] = {}
    error: str | None = None


class EnsembleFigures(BaseModel):
    """The prompts of all seeds together, whose probabilities are averaged.

    Attributes:
        valid, test: the task's metric on the validation and test splits; ``None`` where it is undefined.
        test_interval: 95 % confidence interval of ``test``, by bootstrap over utterances or speakers.
        ece: expected calibration error on the test split.
    """

    model_config = ConfigDict(extra="forbid")

    valid: float | None = None
    test: float | None = None
    test_interval: Interval | None = None
    ece: float | None = None

    @classmethod
    def of(cls, metrics: FinalMetrics, metric: str) -> EnsembleFigures:
        """Return the figures of a metric."""
        valid, test = metrics.metrics["valid"], metrics.metrics["test"]
        return cls(
            valid=_defined(valid[metric]),
            test=_defined(test[metric]),
            test_interval=metrics.intervals.get(metric),
            ece=test.get("ece"),
        )


class TaskRow(BaseModel):
    """Row of a task in the report.

    Attributes:
        status: ``published``, ``failed``, or ``unfinished``.
        metric: name of the metric that ``valid`` and ``test`` give.
        positive: positive class of ``f1`` and ``eer``.
        recipe: name of the recipe, ``default`` or ``paper``.
        point: name of the best point of the sweep; the fields below describe this point.
        points: number of points; 0 without a sweep.
        valid, test: mean of the metric over the seeds.
        test_std: standard deviation over seeds; 0 for one seed.
        test_interval: 95 % confidence interval of ``test``, by bootstrap over utterances or speakers of the test split;
            it does not include the spread over seeds.
        prompts_add: what prompt vectors add to ``test``, where a sweep also tried ``prompt_length: 0``: the best point
            with them less the same without; above 0 where they help.
        single: metric on the test split of the seed that is best on validation; ``None`` for one seed.
        publish: what the bundle holds, ``best`` (that seed's prompt) or ``ensemble``.
        ensemble: the prompts of all seeds together; ``None`` for one seed, and where they cannot be averaged.
        ece: expected calibration error on the test split, mean over the seeds.
        temperatures: calibration temperatures of the published prompt, by slot.
        majority: accuracy of always answering the most frequent label; the baseline ``majority`` has the task's metric.
        seeds: number of seeds.
        trained: number of trained parameters of a prompt.
        steps: optimizer steps of all lanes of the task.
        shots: training examples that every lane drew per class; ``None``: all.
        quarantined: number of examples left out.
        lanes: keys of the outcomes, one per seed.
        long: number of used recordings that are longer than the audio policy's ``max_seconds``.
        long_policy: what was done with them.
        unit_agreement: whether the seeds use the same units, by slot; only for linear verbalizers.
        bundle: URI of the published bundle.
        error: why there is no bundle.
        baselines: results without a prompt, in the order of the job file.
        verdict: prompts against the baseline picked on validation; ``None``: not published, or of an earlier version.
        published: result that others published for the task.
    """

    model_config = ConfigDict(extra="forbid")

    task: str
    family: str = ""
    language: str = ""
    classes: str = ""
    status: Literal["published", "failed", "unfinished"] = "unfinished"
    metric: str = ""
    positive: str | None = None
    recipe: str = ""
    point: str = ""
    points: int = 0
    valid: float | None = None
    test: float | None = None
    test_std: float | None = None
    test_interval: Interval | None = None
    prompts_add: float | None = None
    single: float | None = None
    publish: Literal["best", "ensemble"] = "best"
    ensemble: EnsembleFigures | None = None
    ece: float | None = None
    temperatures: list[float] = []
    majority: float | None = None
    seeds: int = 0
    trained: int | None = None
    steps: int | None = None
    examples: dict[str, int] = {}
    shots: int | None = None
    quarantined: int = 0
    lanes: list[str] = []
    long: int = 0
    long_policy: str = ""
    unit_agreement: dict[str, UnitAgreement] = {}
    bundle: str | None = None
    error: str | None = None
    baselines: dict[str, BaselineFigures] = {}
    verdict: TaskVerdict | None = None
    published: PublishedResult | None = None

    def with_outcomes(self, outcomes: Sequence[LaneOutcome], together: FinalMetrics | None = None) -> TaskRow:
        """Return the row with the metrics of the best point.

        Args:
            outcomes: outcomes of all lanes of the task.
            together: metrics of the seeds of the best point as an ensemble.

        Raises:
            TuningError: no point succeeded with every seed.
        """
        best, points = best_point(outcomes), len(by_point(outcomes))
        eces = [outcome.figures["test"]["ece"] for outcome in best if "ece" in outcome.figures["test"]]
        tests = [outcome.figures["test"][self.metric] for outcome in best]
        ensemble = None if together is None else EnsembleFigures.of(together, self.metric)
        chosen = best_lane(best)
        return self.model_copy(
            update={
                "point": best[0].point,
                "points": points if points > 1 else 0,
                "valid": statistics.fmean(outcome.figures["valid"][self.metric] for outcome in best),
                "test": statistics.fmean(tests),
                "test_std": statistics.stdev(tests) if len(tests) > 1 else 0.0,
                "test_interval": _interval_of_mean(best),
                "ece": statistics.fmean(eces) if len(eces) == len(best) else None,
                "prompts_add": prompts_add(outcomes),
                "single": chosen.figures["test"][self.metric] if len(best) > 1 else None,
                "ensemble": ensemble,
                "temperatures": together.temperatures if together and self.publish != "best" else chosen.temperatures,
                "seeds": len(best),
                "trained": best[0].trained,
                "steps": sum(outcome.steps for outcome in outcomes),
                "lanes": [outcome.key for outcome in best],
            }
        )

    @property
    def of_bundle(self) -> float | None:
        """Metric on the test split of what the bundle holds: of an ensemble its own, else the mean over the seeds."""
        return self.ensemble.test if self.publish == "ensemble" and self.ensemble is not None else self.test

    def with_baselines(self, results: Mapping[str, BaselineResult]) -> TaskRow:
        """Return the row with the metrics of its baselines."""
        figures = {
            kind: BaselineFigures(
                valid=result.figures.get("valid", {}).get(self.metric),
                test=result.figures.get("test", {}).get(self.metric),
                trained=result.trained,
                settings=result.settings,
                error=result.error,
            )
            for kind, result in results.items()
        }
        return self.model_copy(update={"baselines": figures})


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def planned_row(task: PlannedTask) -> TaskRow:
    """Return the row of a task before it is encoded, from its spec and dataset."""
    spec = task.spec
    return TaskRow(
        task=spec.name,
        family=spec.family,
        language=spec.language,
        classes="x".join(str(len(labels)) for labels in task.dataset.labels),
        metric=spec.metric,
        positive=spec.positive,
        recipe=spec.recipe.name,
        published=spec.published_result,
        long_policy=spec.audio.too_long,
        shots=spec.shots,
        publish=spec.publish,
    )


def _interval_of_mean(outcomes: Sequence[LaneOutcome]) -> Interval | None:
    """Return the interval of the mean over seeds; all seeds share the bootstrap draws of the test split."""
    draws = [outcome.draws for outcome in outcomes]
    return interval(np.mean(draws, axis=0)) if all(draws) else None


class JobReport(BaseModel):
    """Report of a job, one row per task."""

    model_config = ConfigDict(extra="forbid")

    job: str
    backbone: str
    tasks: list[TaskRow]

    @property
    def complete(self) -> bool:
        """Whether every task is published."""
        return all(row.status == "published" for row in self.tasks)


def job_root(job: Job) -> str:
    """Return the directory of a job, which holds all its files but bundles and units."""
    return object_storage.join(job.storage, job.name)


def write_report(job: Job, report: JobReport) -> None:
    """Store the report, replacing the previous one."""
    place = REPORT.at(job_root(job))
    REPORT.write(place, report.model_dump_json(indent=2).encode())


def read_report(job: Job) -> JobReport:
    """Read the report of a job's last run.

    Raises:
        JobError: the job has not run, or its report cannot be read.
    """
    place = REPORT.at(job_root(job))
    try:
        return JobReport.model_validate_json(REPORT.read(place))
    except ObjectNotFound as error:
        raise JobError(
            f"{job.source}: nothing is stored of job '{job.name}' in {job.storage}; run it with 'speechprompt run'"
        ) from error
    except DamagedFile as error:
        raise JobError(str(error)) from error
    except ValidationError as error:
        raise JobError(str(REPORT.damaged(place, "is not a report that this version reads"))) from error


def report_table(report: JobReport) -> Group:
    """Return the table of results, and below it where each bundle is or why there is none."""
    too_long = any(row.long for row in report.tasks)
    left_out = any(row.quarantined for row in report.tasks)
    seeds = any(row.seeds > 1 for row in report.tasks)
    table = Table(title=as_text(f"{report.job} on backbone {report.backbone}"), title_justify="left")
    table.add_column("task", no_wrap=True)
    for heading in (
        "family",
        "lang",
        "classes",
        "train",
        *(["quarantined"] if left_out else []),
        *(["too long"] if too_long else []),
    ):
        table.add_column(heading)
    for heading in (
        "metric",
        "valid",
        "test",
        "95 %",
        *(["best seed", "together"] if seeds else []),
        "ECE",
        "majority",
    ):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    ends = Table.grid(padding=(0, 2))
    for row in report.tasks:
        spread = f" ± {100 * row.test_std:.1f}" if row.test_std and row.seeds > 1 else ""
        colour = {"published": "", "failed": "red", "unfinished": "yellow"}[row.status]
        table.add_row(
            as_text(row.task),
            as_text(row.family),
            as_text(row.language),
            as_text(row.classes),
            str(row.examples.get("train", "")) + (f" ({row.shots}-shot)" if row.shots is not None else ""),
            *([str(row.quarantined)] if left_out else []),
            *([f"{row.long} {_LONG[row.long_policy]}" if row.long else ""] if too_long else []),
            as_text(f"{row.metric} ↓" if lower_is_better(row.metric) else row.metric),
            _percent(row.valid),
            _percent(row.test) + spread,
            "–".join(_percent(end) for end in row.test_interval or ()),
            *([_percent(row.single), _percent(None if row.ensemble is None else row.ensemble.test)] if seeds else []),
            _percent(row.ece),
            _percent(row.majority if row.metric == "accuracy" else None),
            style=colour,
        )
        ends.add_row(as_text(row.task), as_text(_outcome(row), overflow="fold"), style=colour)
    return Group(table, ends)


def report_json(report: JobReport) -> str:
    """Return the report as JSON."""
    return printable_json(json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False))


def _outcome(row: TaskRow) -> str:
    if row.status == "published":
        what = [f"{row.seeds} prompts together"] if row.publish == "ensemble" else []
        what += [f"{row.point}, the best of {row.points}"] if row.points else []
        what += [f"prompts add {100 * row.prompts_add:+.1f} points"] if row.prompts_add is not None else []
        return (row.bundle or "") + (f"  ({'; '.join(what)})" if what else "")
    return row.error or row.status


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
