"""What the seeds of a task have to do with each other, found in a Ray task that never imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import ray
from ray.exceptions import RayTaskError

from infra.errors import StorageError
from workers.tuning.results.class_scores import ensemble_metrics
from workers.tuning.results.final_metrics import FinalMetrics
from workers.tuning.results.outcome import read_outcome
from workers.tuning.results.unit_agreement import UnitAgreement, unit_agreement
from workers.tuning.results.unit_use_file import read_unit_uses


@dataclass(frozen=True)
class Seeds:
    """What several seeds of a task have to do with each other.

    Attributes:
        unit_agreement: how well they agree on the units they use, by slot; empty for verbalizers that are not linear.
        together: metrics of their prompts as an ensemble; ``None`` where their verbalizers are not linear, or where
            they were tuned by a version that kept no scores.
    """

    unit_agreement: Mapping[str, UnitAgreement] = field(default_factory=dict)
    together: FinalMetrics | None = None

    @classmethod
    def of(cls, outcomes: str, lanes: Sequence[str], slots: Sequence[str]) -> Seeds:
        """Return what the lanes of one point have to do with each other; nothing for one lane.

        Args:
            outcomes: directory of the lanes' outcomes.
            lanes: keys of the lanes, one per seed.
            slots: names of the task's slots.

        Raises:
            StorageError: a lane's files cannot be read.
        """
        if len(lanes) == 1:
            return cls()
        try:
            agreement, together = ray.get(_compare.remote(outcomes, list(lanes)))
        except RayTaskError as error:
            if isinstance(error.cause, StorageError):
                raise error.cause from error
            raise
        return cls({name: part for name, part in zip(slots, agreement, strict=False) if part is not None}, together)


@ray.remote(num_cpus=0)
def _compare(outcomes: str, lanes: list[str]) -> tuple[list[UnitAgreement | None], FinalMetrics | None]:
    found = [outcome for lane in lanes if (outcome := read_outcome(outcomes, lane)) is not None]
    uses = read_unit_uses(outcomes, found)
    agreement = [unit_agreement(slot) for slot in zip(*(use.slots for use in uses), strict=True)]
    return agreement, ensemble_metrics(outcomes, found)
