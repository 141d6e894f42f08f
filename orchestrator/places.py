"""Whether the places that a job writes to can be used, asked before anything is started."""

from __future__ import annotations

from infra import object_storage
from infra.conditional_writes import require_conditional_writes
from infra.errors import InvalidInputs, Problem, StorageError, StoreUnreachable
from orchestrator.job import Job
from task_specs.problems import shown

WRITTEN = ("bundles", "storage", "units")


def unusable_places(job: Job) -> list[Problem]:
    """What keeps the job from writing where it says.

    Raises:
        InvalidInputs: a server does not answer; whatever else is read from it would be waited for.
    """
    problems: list[Problem] = []
    for field in WRITTEN:
        place = getattr(job, field)
        try:
            object_storage.check(place)
        except StorageError as error:
            problems.append(Problem.of(shown(job.source), field, error))
            if isinstance(error, StoreUnreachable):
                raise InvalidInputs(problems) from error
    return problems


def require_safe_places(job: Job) -> None:
    """Refuse stores in which two writers would mix: of bundles, and of the job's own lease.

    Raises:
        StorageError: which, and why.
    """
    for place in dict.fromkeys((job.bundles, job.storage)):
        require_conditional_writes(place)
