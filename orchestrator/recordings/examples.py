"""Encoding of a task's dataset and tokenized clips as the examples that lanes read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infra.errors import DatasetError
from orchestrator.cluster.session import actor_size
from orchestrator.plan import Plan, PlannedTask
from orchestrator.progress import ProgressView
from orchestrator.recordings.tokenizing import ClipRequest, TokenizingReport, tokenize
from task_specs.dataset import Dataset
from task_specs.example import SPLITS, Example, Split
from task_specs.schema import TaskSpec
from workers.backbone.directory import read_tokenizer
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.prompting.sampling import few_shot
from workers.speech.sequences import UnitSequences
from workers.speech.unit_prosody import ProsodySettings, UnitProsody, unit_prosody
from workers.speech.units import Units

QUARANTINED_SHOWN = 10


def clip_requests(task: PlannedTask) -> list[ClipRequest]:
    """Return the clips of a task with its audio policy."""
    clips = (example.clip for example in task.dataset.examples)
    return [ClipRequest(clip, task.spec.audio) for clip in clips if clip is not None]


def tokenize_tasks(plan: Plan, view: ProgressView) -> TokenizingReport:
    """Tokenize the clips that the unit cache does not hold, and show which cannot be used.

    Raises:
        StorageError: see ``tokenize``.
        JobError: actors of the requested size do not fit the cluster.
    """
    requests = [request for task in plan.tasks for request in clip_requests(task)]
    if not requests:
        return TokenizingReport()
    tokenizer = read_tokenizer(plan.job.backbone, plan.backbone)
    size = actor_size(plan.job.resources)
    with view.stage("tokenizing") as stage:
        report = tokenize(
            requests,
            tokenizer=tokenizer,
            fingerprint=plan.backbone.fingerprints.tokenizer,
            cache_root=plan.job.units,
            f0=None if plan.backbone.prosody is None else plan.backbone.prosody.tracker,
            gpus=size.gpus if tokenizer.gains_from_gpu else 0.0,
            progress=stage.update,
        )
    for line in report.damaged:
        view.line(line)
    view.line(
        f"units of {len(report.units):,} clips: {report.computed:,} computed, {report.cached:,} from the cache, "
        f"{len(report.quarantined):,} quarantined, "
        f"{len(report.long):,} longer than allowed"
    )
    shown = list(report.quarantined.items())[:QUARANTINED_SHOWN]
    for request, reason in shown:
        view.line(f"  quarantined {request.clip.uri}: {reason}")
    if len(report.quarantined) > len(shown):
        view.line(f"  and {len(report.quarantined) - len(shown)} more")
    for line in noted(report):
        view.line(f"  {line}")
    return report


def noted(report: TokenizingReport) -> list[str]:
    """Return the tokenizer's notes about usable clips, each with the number of clips that it is about."""
    uris: dict[str, list[str]] = {}
    for request, units in report.units.items():
        if units.note is not None:
            uris.setdefault(units.note, []).append(request.clip.uri)
    return [f"note about {len(found):,} clips, such as {found[0]}: {note}" for note, found in uris.items()]


@dataclass(frozen=True)
class EncodedTask:
    """Encoded examples of a task.

    Attributes:
        examples: units and class numbers per split.
        quarantined: number of examples left out because their clip cannot be used.
        long: number of used recordings that are longer than the audio policy's ``max_seconds``.
        majority: accuracy on the test split of always answering the most frequent label of the training split; with
            several slots, the most frequent combination.
    """

    examples: TaskExamples
    quarantined: int
    long: int
    majority: float

    def train_examples(self, shots: int | None) -> int:
        """Return the number of training examples of a lane that draws ``shots`` per class; ``None``: all."""
        train = self.examples.splits["train"]
        return train.examples if shots is None else len(few_shot(train.example_labels, shots, seed=0))

    def counts(self, shots: int | None) -> dict[Split, int]:
        """Return the number of examples of each split that a lane is tuned and evaluated on."""
        counts = {split: part.examples for split, part in self.examples.splits.items()}
        return {**counts, "train": self.train_examples(shots)}


def encode(
    spec: TaskSpec,
    dataset: Dataset,
    tokenized: Mapping[ClipRequest, Units],
    prosody: ProsodySettings | None = None,
    long: Collection[ClipRequest] = (),
) -> EncodedTask:
    """Encode the examples of a task.

    Args:
        spec: spec of the task.
        dataset: examples of the task.
        tokenized: units of usable clips; examples of other clips are left out and counted.
        prosody: settings of a multi-stream LM, to add durations and F0; ``None``: units only.
        long: clips that are longer than the policy allows.

    Raises:
        DatasetError: a split has no usable examples, or none of the positive or negative class.
    """
    usable = [
        (example, units)
        for example in dataset.examples
        if (units := _units(spec, example, tokenized)) is not None and len(units)
    ]
    # A speaker's mean is over the clips of all splits; this leaks no labels.
    heard = None
    if prosody is not None:
        heard = unit_prosody([units for _, units in usable], [example.speaker for example, _ in usable], prosody)
    splits: dict[Split, SplitExamples] = {}
    for split in SPLITS:
        places = [place for place, (example, _) in enumerate(usable) if example.split == split]
        if not places:
            raise DatasetError(
                f"{spec.name}: none of the {dataset.counts[split]} clips of split {split} can be used; "
                "see the quarantine report, and the task's audio policy"
            )
        splits[split] = _split_examples(
            [usable[place] for place in places],
            heard and [heard[place] for place in places],
            dataset.labels,
            speakers=split == "test" and spec.bootstrap == "speakers",
        )
        _check_detectable(spec, split, splits[split])
    return EncodedTask(
        TaskExamples(splits),
        quarantined=len(dataset.examples) - len(usable),
        long=sum(ClipRequest(example.clip, spec.audio) in long for example, _ in usable if example.clip is not None),
        majority=_majority(splits),
    )


def _split_examples(
    usable: Sequence[tuple[Example, Units]],
    heard: Sequence[UnitProsody] | None,
    classes: tuple[tuple[str, ...], ...],
    *,
    speakers: bool,
) -> SplitExamples:
    """Return the examples of a split, with a row for each window."""
    rows = [(place, span) for place, (_, units) in enumerate(usable) for span in units.spans]
    prosody = None if heard is None else [heard[place].part(*span) for place, span in rows]
    return SplitExamples(
        UnitSequences.of((usable[place][1].units[slice(*span)] for place, span in rows), prosody),
        _class_numbers([usable[place][0].labels for place, _ in rows], classes),
        _speakers([example for example, _ in usable]) if speakers else None,
        np.array([place for place, _ in rows], dtype=np.int64) if len(rows) > len(usable) else None,
    )


def _units(spec: TaskSpec, example: Example, tokenized: Mapping[ClipRequest, Units]) -> Units | None:
    if example.clip is not None:
        return tokenized.get(ClipRequest(example.clip, spec.audio))
    return given_units(example)


def given_units(example: Example) -> Units | None:
    """Return the units that came with the data; without durations, each unit counts as one frame."""
    if example.units is None:
        return None
    durations = example.durations or (1,) * len(example.units)
    return Units(np.array(example.units, dtype=np.int16), np.array(durations, dtype=np.int32))


def _speakers(examples: Sequence[Example]) -> NDArray[np.int64]:
    """Return the number of each example's speaker, from 0, int64 [examples]."""
    numbers: dict[str | None, int] = {}
    return np.array([numbers.setdefault(example.speaker, len(numbers)) for example in examples], dtype=np.int64)


def _check_detectable(spec: TaskSpec, split: Split, examples: SplitExamples) -> None:
    if spec.positive is not None and len(set(examples.labels[:, 0].tolist())) < 2:
        raise DatasetError(
            f"{spec.name}: the clips of split {split} that can be used are all of one class, so {spec.positive!r} "
            "cannot be detected; see the quarantine report, and the task's audio policy"
        )


def _class_numbers(labels: list[tuple[str, ...]], classes: tuple[tuple[str, ...], ...]) -> NDArray[np.int64]:
    numbers = [{label: number for number, label in enumerate(slot)} for slot in classes]
    return np.array([[numbers[slot][label] for slot, label in enumerate(row)] for row in labels], dtype=np.int64)


def _majority(splits: Mapping[Split, SplitExamples]) -> float:
    answer, _ = Counter(map(tuple, splits["train"].example_labels.tolist())).most_common(1)[0]
    return float((splits["test"].example_labels == np.array(answer)).all(axis=1).mean())
