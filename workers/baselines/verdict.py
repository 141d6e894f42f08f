"""Whether the prompts of a job's tasks pass the baseline that each task's validation split picks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from infra.errors import StorageError
from task_specs.metric import METRICS
from workers.baselines.result import BaselineResult, read_baseline_answers
from workers.evaluation.comparison import Comparison, Verdict, compare, holm
from workers.tuning.results.outcome import LaneOutcome, read_answers


class TaskVerdict(BaseModel):
    """Prompts of a task against the baseline picked on its validation split.

    Attributes:
        verdict: see ``workers.evaluation.comparison``; ``None`` where nothing could be compared.
        baseline: name of the baseline.
        comparison: on the test split.
        p: p-value after Holm's correction over the job's tasks.
        reason: why there is no verdict.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict | None = None
    baseline: str | None = None
    comparison: Comparison | None = None
    p: float | None = None
    reason: str | None = None


def picked(results: Sequence[BaselineResult], metric: str) -> BaselineResult | None:
    """The baseline that is best by the task's metric on the validation split, the first of equal ones; ``None`` where
    none has figures."""
    usable = [result for result in results if result.error is None]
    return max(usable, key=lambda result: METRICS[metric].score(result.figures["valid"][metric]), default=None)


def compared(
    lanes: str, outcomes: Sequence[LaneOutcome], baselines: str, results: Sequence[BaselineResult]
) -> TaskVerdict:
    """Compare the prompts of a task with its baselines; ``judged`` completes it.

    Args:
        lanes: where the outcomes are stored.
        outcomes: of the seeds of the task's best point, at least one.
        baselines: where the results of baselines are stored.
        results: of the task, in the order in which equal ones are preferred.
    """
    metric = outcomes[0].spec.metric
    best = picked(results, metric)
    if best is None:
        return TaskVerdict(reason="none of its baselines has figures" if results else "the job computes no baselines")
    try:
        prompts = [answers for outcome in outcomes if (answers := read_answers(lanes, outcome)) is not None]
        baseline = read_baseline_answers(baselines, best)
    except StorageError as error:
        return TaskVerdict(baseline=best.kind, reason=str(error))
    if len(prompts) < len(outcomes):
        old = "its prompts were tuned by a version that kept no answers; run the job with --restart"
        return TaskVerdict(baseline=best.kind, reason=old)
    comparison = compare(prompts, baseline, metric)
    reason = f"{metric} is undefined on its test examples" if comparison is None else None
    return TaskVerdict(baseline=best.kind, comparison=comparison, reason=reason)


def judged(tasks: Mapping[str, TaskVerdict]) -> dict[str, TaskVerdict]:
    """The verdicts on all tasks of a job, by name."""
    found = {task: part.comparison for task, part in tasks.items() if part.comparison is not None}
    verdicts = {
        task: {"p": p, "verdict": comparison.verdict(p)}
        for (task, comparison), p in zip(found.items(), holm([one.p for one in found.values()]), strict=True)
    }
    return {task: part.model_copy(update=verdicts.get(task, {})) for task, part in tasks.items()}
