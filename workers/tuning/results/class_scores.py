"""Class scores of a lane's kept prompt, stored beside its outcome: ``<outcomes>/<lane key>/class_scores.safetensors``.

Verdicts and ensembles are made of them, and nothing has to be computed by the LM again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from infra.errors import TuningError
from task_specs.example import SPLITS, Split
from workers.evaluation.answers import Answers
from workers.evaluation.ensemble import predictions_together
from workers.evaluation.metrics import Predictions
from workers.job_store.files import CLASS_SCORES
from workers.tuning.results.final_metrics import FinalMetrics, final_metrics
from workers.tuning.results.outcome import LaneOutcome, parsed_outcome_file
from workers.untrusted.tensor_file import parse_tensors

CLASS_SCORES_FILE: Final = "class_scores.safetensors"


@dataclass(frozen=True)
class ClassScores:
    """Scores on the examples that a prompt was not tuned on.

    Attributes:
        splits: of the splits ``valid`` and ``test``.
        speakers: number of the speaker of each test example, from 0, int64 [examples]; ``None`` where the bootstrap
            draws utterances.
    """

    splits: Mapping[Split, Predictions]
    speakers: NDArray[np.int64] | None = None

    def answers(self, positive: int | None) -> Answers:
        """What the prompt answers on the test split.

        Args:
            positive: number of the positive class; ``None`` where there is none.
        """
        return self.splits["test"].answers(positive, self.speakers)

    def to_bytes(self) -> bytes:
        """As a safetensors file; numbers of classes and speakers as int32."""
        tensors: dict[str, NDArray[Any]] = {}
        for split, predictions in self.splits.items():
            tensors[f"{split}.labels"] = predictions.labels.astype(np.int32)
            tensors |= {f"{split}.scores.{slot}": scores for slot, scores in enumerate(predictions.scores)}
        if self.speakers is not None:
            tensors["test.speakers"] = self.speakers.astype(np.int32)
        return save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})

    @classmethod
    def from_bytes(cls, data: bytes) -> ClassScores:
        """Inverse of ``to_bytes``.

        Raises:
            ValueError, KeyError: they are others' bytes.
        """
        tensors = parse_tensors(data)
        splits: dict[Split, Predictions] = {}
        for split in SPLITS[1:]:
            labels = tensors[f"{split}.labels"].astype(np.int64)
            scores = [tensors[f"{split}.scores.{slot}"] for slot in range(labels.shape[1])]
            splits[split] = Predictions(scores, labels)
        speakers = tensors.get("test.speakers")
        return cls(splits, None if speakers is None else speakers.astype(np.int64))


def read_class_scores(root: str, outcome: LaneOutcome) -> ClassScores | None:
    """What is stored of a lane; ``None`` for one of a version that did not keep it.

    Raises:
        DamagedFile: it is not what the lane left.
        StorageError: it cannot be read.
    """
    return parsed_outcome_file(root, outcome, CLASS_SCORES_FILE, CLASS_SCORES, ClassScores.from_bytes)


def scores_together(root: str, outcomes: Sequence[LaneOutcome]) -> ClassScores:
    """The class scores of an ensemble of the seeds of one point.

    Args:
        root: where the outcomes are.
        outcomes: of its members, at least one.

    Raises:
        TuningError: a lane is of a version that did not keep its scores.
        DamagedFile: what is stored is not what a lane left.
        StorageError: it cannot be read.
    """
    scores = _members(root, outcomes)
    if scores is None:
        raise TuningError("its prompts were tuned by a version that kept no scores; run the job with --restart")
    return _together(scores)


def ensemble_metrics(root: str, outcomes: Sequence[LaneOutcome]) -> FinalMetrics | None:
    """How good the seeds of one point are together; ``None`` where their verbalizers are not linear, or where they are
    of a version that kept no scores.

    Args:
        root: where the outcomes are.
        outcomes: of the seeds, at least one.

    Raises:
        DamagedFile: what is stored is not what a lane left.
        StorageError: it cannot be read.
    """
    spec = outcomes[0].spec
    if spec.recipe.verbalizer != "linear" or (scores := _members(root, outcomes)) is None:
        return None
    found = _together(scores)
    return final_metrics(spec, found.splits, found.speakers)


def _members(root: str, outcomes: Sequence[LaneOutcome]) -> list[ClassScores] | None:
    found = [scores for outcome in outcomes if (scores := read_class_scores(root, outcome)) is not None]
    return found if len(found) == len(outcomes) else None


def _together(members: Sequence[ClassScores]) -> ClassScores:
    splits = {split: predictions_together([member.splits[split] for member in members]) for split in SPLITS[1:]}
    return ClassScores(splits, members[0].speakers)
