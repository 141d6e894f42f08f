"""Whether the prompts of a job's tasks pass the baseline that each task's validation split picks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from infra.errors import StorageError, TuningError
from task_specs.metric import METRICS
from workers.baselines.result import BaselineResult, read_baseline_answers
from workers.evaluation.comparison import Comparison, Verdict, compare, holm
from workers.tuning.results.class_scores import scores_together
from workers.tuning.results.outcome import LaneOutcome


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
    lanes: str, outcomes: Sequence[LaneOutcome], baselines: str, results: Sequence[BaselineResult], *, together: bool
) -> TaskVerdict:
    """Compare the prompts of a task with its baselines; ``judged`` completes it.

    Args:
        lanes: where the outcomes are stored.
        outcomes: of the seeds of the task's best point, at least one.
        together: whether they are published as an ensemble, which is then what is compared; otherwise it is the mean
            over seeds.
        baselines: where the results of baselines are stored.
        results: of the task, in the order in which equal ones are preferred.
    """
    metric = outcomes[0].spec.metric
    best = picked(results, metric)
    if best is None:
        return TaskVerdict(reason="none of its baselines has figures" if results else "the job computes no baselines")
    try:
        systems = [outcomes] if together else [[outcome] for outcome in outcomes]
        scores = [scores_together(lanes, members) for members in systems]
        baseline = read_baseline_answers(baselines, best)
    except (StorageError, TuningError) as error:
        return TaskVerdict(baseline=best.kind, reason=str(error))
    positive = outcomes[0].spec.positive_class
    comparison = compare([each.answers(positive) for each in scores], baseline, metric)
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
