"""Which lanes of a job have ended, as far as what they left can be believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from infra.errors import DamagedFile
from workers.tuning.orders import LaneOrder
from workers.tuning.results.outcome import LaneOutcome, read_outcome


class Outcomes:
    """What the lanes of a job have left. An outcome that is damaged, or of another unit LM, counts for nothing: its
    lane is tuned again.

    Args:
        root: where lanes leave their outcomes.
        unit_lm: fingerprint of the LM that the job was planned for.
        say: called once for each outcome that counts for nothing, with the reason.
    """

    def __init__(self, root: str, *, unit_lm: str, say: Callable[[str], None]) -> None:
        self.root = root
        self._unit_lm, self._say = unit_lm, say
        self._refused: set[str] = set()
        self._attempts: dict[str, int] = {}
        """Of the outcomes that were found good: what a lane left is not read again each time another one ends."""

    def has_ended(self, lane: LaneOrder) -> bool:
        """Whether a lane has left its outcome, for as often as it was ordered.

        Raises:
            StorageError: the place cannot be read.
        """
        return self._attempts.get(lane.key, 0) >= lane.attempt or bool(self.of([lane]))

    def of(self, lanes: Sequence[LaneOrder]) -> list[LaneOutcome]:
        """The outcomes of those that have ended, for as often as they were ordered.

        Raises:
            StorageError: the place cannot be read.
        """
        found = [(lane, self._read(lane)) for lane in lanes]
        return [outcome for lane, outcome in found if outcome is not None and outcome.attempt >= lane.attempt]

    def _read(self, lane: LaneOrder) -> LaneOutcome | None:
        self._attempts.pop(lane.key, None)
        try:
            outcome = read_outcome(self.root, lane.key)
        except DamagedFile as error:
            self._refuse(lane, str(error))
            return None
        if outcome is None:
            return None
        if outcome.lm_fingerprint != self._unit_lm:
            self._refuse(lane, "its outcome is of another unit LM; it is tuned again")
            return None
        self._attempts[lane.key] = outcome.attempt
        return outcome

    def _refuse(self, lane: LaneOrder, reason: str) -> None:
        if lane.key not in self._refused:
            self._refused.add(lane.key)
            self._say(f"{lane.run_name}: {reason}")
