"""``speechprompt classify``: labels of recordings, for people or as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from infra import object_storage
from infra.printable import printable, printable_json
from orchestrator.console import results_console
from workers.inference.classifier import Answer, Classifier

ABSTAINED = "(abstains)"


def classify_files(
    bundles: Sequence[str],
    audio: Sequence[str],
    *,
    backbone: str | None,
    top: int,
    as_json: bool,
    one_speaker: bool,
    abstain_below: float = 0.0,
    trusted: Sequence[str] = (),
) -> None:
    """Print what each bundle makes of each recording.

    Args:
        bundles: URIs of bundles or tasks.
        audio: recordings.
        backbone: where it is, if not where the bundle was made.
        top: labels per slot.
        as_json: one JSON line per recording instead of a table.
        one_speaker: whether all recordings are of one speaker, for a multi-stream LM.
        abstain_below: probability below which a slot has no answer.
        trusted: files of public keys, by one of which each bundle must be signed.

    Raises:
        AudioError, BundleError, BackboneError, StorageError: as ``Classifier``.
    """
    here = str(Path.cwd())
    classifier = Classifier.from_uris(
        [object_storage.resolve(uri, here) for uri in bundles],
        backbone and object_storage.resolve(backbone, here),
        abstain_below=abstain_below,
        trusted_keys=[object_storage.resolve(path, here) for path in trusted],
    )
    recordings = [object_storage.resolve(uri, here) for uri in audio]
    # Every recording for every task, all in one batch.
    asked = [(recording, task) for task in classifier.tasks for recording in recordings]
    found = classifier.classify_audio(
        [recording for recording, _ in asked],
        [task for _, task in asked],
        speakers=["speaker"] * len(asked) if one_speaker else None,
    )
    answers = {
        task: found[start : start + len(recordings)]
        for task, start in zip(classifier.tasks, range(0, len(found), len(recordings)), strict=True)
    }
    if as_json:
        for number, given in enumerate(audio):
            labels = {
                task: {
                    answer.slot: [
                        {"label": label, "probability": round(probability, 6)}
                        | ({"abstained": True} if label is None else {})
                        for label, probability in _shown(answer, top)
                    ]
                    for answer in labelled[number]
                }
                for task, labelled in answers.items()
            }
            click.echo(printable_json(json.dumps({"audio": given, "labels": labels}, ensure_ascii=False)))
        return
    table = Table("recording", "task", "slot", "label", "probability")
    for number, given in enumerate(audio):
        for task, labelled in answers.items():
            for answer in labelled[number]:
                for label, probability in _shown(answer, top):
                    # Text, because a file may be called "[a].wav".
                    named = Text(ABSTAINED, style="italic") if label is None else Text(printable(label))
                    where = (Text(printable(text)) for text in (given, task, answer.slot))
                    table.add_row(*where, named, f"{probability:.3f}")
    results_console().print(table)


def _shown(answer: Answer, top: int) -> list[tuple[str | None, float]]:
    """The first labels with their probabilities; one that abstained begins with no label, which stands for the answer,
    and goes on with the labels only if more than one was asked for."""
    labels: list[tuple[str | None, float]] = list(zip(answer.labels, answer.probabilities, strict=True))
    if not answer.abstained:
        return labels[:top]
    return [(None, answer.probabilities[0]), *(labels[:top] if top > 1 else [])]
