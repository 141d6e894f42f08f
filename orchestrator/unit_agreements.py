"""Whether the seeds of a task use the same units, found out by a worker."""

from __future__ import annotations

from collections.abc import Sequence

import ray
from ray.exceptions import RayTaskError

from infra.errors import StorageError
from workers.prompting.outcome import read_outcome
from workers.prompting.unit_agreement import UnitAgreement, unit_agreement
from workers.prompting.unit_use_file import read_unit_uses


def unit_agreements(outcomes: str, lanes: Sequence[str], slots: Sequence[str]) -> dict[str, UnitAgreement]:
    """Of each slot of a task; none for a single seed, or where verbalizers are not linear.

    Args:
        outcomes: where lanes left their outcomes.
        lanes: keys of those to compare, one a seed.
        slots: names of the task's slots.

    Raises:
        StorageError: what a lane left cannot be read.
    """
    if len(lanes) == 1:
        return {}
    try:
        found = ray.get(_compare.remote(outcomes, list(lanes)))
    except RayTaskError as error:
        if isinstance(error.cause, StorageError):
            raise error.cause from error
        raise
    return {name: part for name, part in zip(slots, found, strict=False) if part is not None}


@ray.remote(num_cpus=0)
def _compare(outcomes: str, lanes: list[str]) -> list[UnitAgreement | None]:
    found = [outcome for lane in lanes if (outcome := read_outcome(outcomes, lane)) is not None]
    uses = read_unit_uses(outcomes, found)
    return [unit_agreement(slot) for slot in zip(*(use.slots for use in uses), strict=True)]
