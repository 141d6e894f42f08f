"""Verdicts on the tasks of a job, prompts against baselines, computed in Ray tasks when both are there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import ray
from ray.exceptions import RayError

from orchestrator.baselines import said_by
from workers.baselines.result import BaselineResult
from workers.baselines.verdict import TaskVerdict, compared, judged
from workers.tuning.results.outcome import LaneOutcome, best_point


def verdicts(
    lanes: str,
    outcomes: Mapping[str, Sequence[LaneOutcome]],
    baselines: str,
    results: Mapping[str, Mapping[str, BaselineResult]],
    ensembles: Collection[str],
) -> dict[str, TaskVerdict]:
    """Return the verdict on each task that has prompts, corrected over all of them.

    Args:
        lanes: directory of the lanes' outcomes.
        outcomes: outcomes of all lanes of each task, with a point that succeeded.
        baselines: directory of the baselines' results.
        results: results of each task's baselines, in the order of the job file.
        ensembles: tasks whose prompts are published together.
    """
    running = {
        task: _compared.remote(
            lanes, best_point(found), baselines, list(results.get(task, {}).values()), task in ensembles
        )
        for task, found in outcomes.items()
    }
    return judged({task: _result(reference) for task, reference in running.items()})


def _result(reference: ray.ObjectRef[TaskVerdict]) -> TaskVerdict:
    try:
        return ray.get(reference)
    except RayError as error:
        return TaskVerdict(reason=said_by(error))


@ray.remote(num_cpus=1, max_retries=1)
def _compared(
    lanes: str, outcomes: list[LaneOutcome], baselines: str, results: list[BaselineResult], together: bool
) -> TaskVerdict:
    return compared(lanes, outcomes, baselines, results, together=together)
