"""Unit sequences of tasks, on which a unit LM is pretrained."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from infra.digest import fingerprint
from infra.errors import InvalidInputs, Problem
from orchestrator.cluster.session import actor_size
from orchestrator.pretraining.file import PretrainFile
from orchestrator.progress import ProgressView
from orchestrator.recordings.examples import given_units
from orchestrator.recordings.tokenizing import ClipRequest, tokenize
from task_specs.dataset import Dataset
from task_specs.example import Split
from task_specs.problems import shown
from task_specs.schema import TaskSpec
from workers.speech.sequences import UnitSequences
from workers.speech.tokenizer import Tokenizer
from workers.speech.unit_prosody import ProsodySettings, unit_prosody
from workers.speech.units import Units


def unit_sequences(
    described: PretrainFile,
    tasks: Sequence[tuple[TaskSpec, Dataset]],
    tokenizer: Tokenizer,
    view: ProgressView,
) -> dict[str, UnitSequences]:
    """Return the units of the training and validation rows of all tasks. A clip that several tasks share is used once,
    and no training clip is used for validation.

    Raises:
        InvalidInputs: one of the splits has no usable rows.
        AudioError, InvalidInputs: recordings cannot be used, see ``TokenizingReport.check``.
        StorageError: see ``tokenize``.
    """
    prosody = described.unit_lm.prosody_settings
    requests: dict[Split, dict[ClipRequest, str | None]] = {"train": {}, "valid": {}}
    given: dict[Split, list[tuple[Units, str | None]]] = {"train": [], "valid": []}
    for split in requests:
        for spec, dataset in tasks:
            for example in dataset.split(split):
                if example.clip is not None:
                    requests[split][ClipRequest(example.clip, spec.audio)] = example.speaker
                elif (units := given_units(example)) is not None:
                    given[split].append((units, example.speaker))
    wanted = [request for part in requests.values() for request in part]
    tokenized = {}
    if wanted:
        size = actor_size(described.resources)
        with view.stage("tokenizing") as stage:
            report = tokenize(
                wanted,
                tokenizer=tokenizer,
                fingerprint=fingerprint(tokenizer.config(), tokenizer.tensors()),
                cache_root=described.units,
                f0=None if prosody is None else prosody.tracker,
                gpus=size.gpus if tokenizer.gains_from_gpu else 0.0,
                progress=stage.update,
            )
        for line in report.damaged:
            view.line(line)
        report.check(wanted)
        tokenized = report.units
    seen = {request.clip for request in requests["train"]}
    utterances: dict[Split, list[tuple[Units, str | None]]] = {}
    for split, part in requests.items():
        by_clip = {
            request.clip: (tokenized[request], speaker)
            for request, speaker in part.items()
            if request in tokenized and len(tokenized[request]) and (split == "train" or request.clip not in seen)
        }
        utterances[split] = [*by_clip.values(), *given[split]]
        if not utterances[split]:
            raise InvalidInputs(
                [Problem(shown(described.source), "tasks", f"have no usable {split} rows", "name tasks that have some")]
            )
    return _laid_out(utterances, prosody)


def _laid_out(
    utterances: dict[Split, list[tuple[Units, str | None]]], prosody: ProsodySettings | None
) -> dict[str, UnitSequences]:
    """Return the sequences of each split, with prosody for a multi-stream LM; speakers' means are over both splits."""
    if prosody is None:
        return {
            split: UnitSequences.of(units.units[slice(*span)] for units, _ in part for span in units.spans)
            for split, part in utterances.items()
        }
    everyone = [utterance for part in utterances.values() for utterance in part]
    heard = iter(unit_prosody([units for units, _ in everyone], [who for _, who in everyone], prosody))
    return {
        split: UnitSequences.of(
            (units.units[slice(*span)] for units, _ in part for span in units.spans),
            [
                spoken.part(*span)
                for spoken, (units, _) in zip(islice(heard, len(part)), part, strict=True)
                for span in units.spans
            ],
        )
        for split, part in utterances.items()
    }
