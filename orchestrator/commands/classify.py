"""``speechprompt classify``: labels of recordings, for people or as JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from infra import object_storage
from infra.errors import SpeechPromptError
from infra.printable import printable_json
from orchestrator.commands.options import JSON, closing
from orchestrator.exit_codes import BAD_INPUT, RECORDINGS_FAILED
from orchestrator.progress import as_text, results_console, say

if TYPE_CHECKING:
    from workers.inference.answer import Answer
    from workers.inference.explaining import Heard

ABSTAINED = "(abstains)"
STRONGEST = 8
"""Units that are shown of each answer."""
BAR = 20
"""Characters of the longest bar."""


@click.command(
    epilog=closing(
        "classify --bundle s3://prompts/baltic/wake-word recording.wav",
        "classify --bundle bundles --task wake-word --task language --explain --json *.wav",
        codes={RECORDINGS_FAILED: "some recordings cannot be read"},
    )
)
@click.option(
    "--bundle", "bundles", multiple=True, required=True, metavar="URI", help="A bundle, or a task's directory."
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME",
    help="Task whose directory is in that of --bundle.",
)
@click.option("--backbone", metavar="URI", help="Its backbone; default: where the bundle was made.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Labels to show per slot, most probable first.",
)
@click.option(
    "--explain", is_flag=True, help=f"Show the {STRONGEST} units that speak most for the first label, or against it."
)
@JSON
@click.option(
    "--one-speaker", is_flag=True, help="All recordings are of one speaker, whose mean pitch a pgslm then goes by."
)
@click.option(
    "--abstain-below",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="PROBABILITY",
    help="Give no answer where the first label is less probable.",
)
@click.option("--trusted", multiple=True, metavar="KEY.pub", help="Refuse bundles that no such key has signed.")
@click.argument("audio", nargs=-1, required=True)
def classify(
    bundles: tuple[str, ...],
    tasks: tuple[str, ...],
    backbone: str | None,
    top: int,
    explain: bool,
    as_json: bool,
    one_speaker: bool,
    abstain_below: float,
    trusted: tuple[str, ...],
    audio: tuple[str, ...],
) -> None:
    """Label recordings with published prompts. Needs neither Ray nor MLflow.

    One that cannot be read does not keep the others from their labels: the exit code is then 1, and 2 where no other
    has any. JSON is one line per recording.
    """
    answered, errors = classify_files(
        [object_storage.join(bundle, task) for bundle in bundles for task in tasks] if tasks else bundles,
        audio,
        backbone=backbone,
        top=top,
        explain=explain,
        as_json=as_json,
        one_speaker=one_speaker,
        abstain_below=abstain_below,
        trusted=trusted,
    )
    for error in errors:
        say(error)
    if errors:
        sys.exit(RECORDINGS_FAILED if answered else BAD_INPUT)


def classify_files(
    bundles: Sequence[str],
    audio: Sequence[str],
    *,
    backbone: str | None,
    top: int,
    as_json: bool,
    one_speaker: bool,
    explain: bool = False,
    abstain_below: float = 0.0,
    trusted: Sequence[str] = (),
) -> tuple[int, list[str]]:
    """Print what each bundle makes of each recording.

    Args:
        bundles: URIs of bundles or tasks.
        audio: recordings.
        backbone: where it is, if not where the bundle was made.
        top: labels per slot.
        as_json: one JSON line per recording instead of a table.
        one_speaker: whether all recordings are of one speaker, for a multi-stream LM.
        explain: whether to show what was heard, and when.
        abstain_below: probability below which a slot has no answer.
        trusted: files of public keys, by one of which each bundle must be signed.

    Returns:
        How many recordings have an answer, and what is wrong with those that lack one, a sentence each.

    Raises:
        BundleError, BackboneError, StorageError: as ``Classifier.from_uris``.
    """
    from workers.inference.classifier import Classifier

    classifier = Classifier.from_uris(bundles, backbone, abstain_below=abstain_below, trusted_keys=trusted)
    # Every recording for every task, all in one batch.
    asked = [(recording, task) for recording in audio for task in classifier.tasks]
    found = classifier.classify_audio(
        [recording for recording, _ in asked],
        [task for _, task in asked],
        speakers=["speaker"] * len(asked) if one_speaker else None,
        on_error="return",
        explain=explain,
    )
    tasks = len(classifier.tasks)
    results = [
        _Result.of(given, dict(zip(classifier.tasks, found[number * tasks :], strict=False)))
        for number, given in enumerate(audio)
    ]
    answered = sum(bool(result.labels) for result in results)
    if as_json:
        for result in results:
            click.echo(result.line(top))
    elif answered:
        results_console().print(_table(results, top))
        if explain:
            results_console().print(_heard_table(results))
    return answered, [result.error for result in results if result.error is not None]


@dataclass(frozen=True)
class _Result:
    """What became of a recording.

    Attributes:
        given: the recording, as it was named.
        labels: answers by task, of those that gave any.
        error: why others gave none.
    """

    given: str
    labels: dict[str, list[Answer]]
    error: str | None

    @classmethod
    def of(cls, given: str, found: Mapping[str, list[Answer] | SpeechPromptError]) -> _Result:
        labels = {task: answers for task, answers in found.items() if not isinstance(answers, SpeechPromptError)}
        errors = {task: str(error) for task, error in found.items() if isinstance(error, SpeechPromptError)}
        if len(set(errors.values())) == 1 and not labels:
            return cls(given, labels, next(iter(errors.values())))
        # Tasks have limits of length of their own.
        return cls(given, labels, "; ".join(f"{task}: {error}" for task, error in errors.items()) or None)

    def line(self, top: int) -> str:
        """A JSON object for programs."""
        said: dict[str, Any] = {"audio": self.given}
        if self.labels or self.error is None:
            said["labels"] = {
                task: {
                    answer.slot: [
                        {"label": label, "probability": round(probability, 6)}
                        | ({"abstained": True} if label is None else {})
                        for label, probability in _shown(answer, top)
                    ]
                    for answer in answers
                }
                for task, answers in self.labels.items()
            }
            if heard := {
                task: {answer.slot: [_rounded(one) for one in answer.heard] for answer in answers if answer.heard}
                for task, answers in self.labels.items()
                if any(answer.heard for answer in answers)
            }:
                said["heard"] = heard
        if self.error is not None:
            said["error"] = self.error
        return printable_json(json.dumps(said, ensure_ascii=False))


def _table(results: Sequence[_Result], top: int) -> Table:
    table = Table("recording", "task", "slot", "label", "probability")
    for result in results:
        for task, answers in result.labels.items():
            for answer in answers:
                for label, probability in _shown(answer, top):
                    named = Text(ABSTAINED, style="italic") if label is None else as_text(label)
                    where = (as_text(text) for text in (result.given, task, answer.slot))
                    table.add_row(*where, named, f"{probability:.3f}")
    return table


def _rounded(one: Heard) -> dict[str, int | float]:
    """A unit as JSON: what it adds to the score of the first label, in nats, and its time in seconds."""
    times = {} if one.start is None or one.end is None else {"start": round(one.start, 3), "end": round(one.end, 3)}
    return {"unit": one.unit, "weight": round(one.weight, 4), **times}


def _heard_table(results: Sequence[_Result]) -> Table:
    """The strongest units of each answer in the order of time, with a bar as long as their weight."""
    table = Table("recording", "task", "slot", "label", "seconds", "unit", "nats", "for (+) or against (-)")
    for result in results:
        for task, answers in result.labels.items():
            for answer in answers:
                named = [as_text(text) for text in (result.given, task, answer.slot, answer.labels[0])]
                if not answer.heard:
                    table.add_row(*named, "", "", "", "reads the separators alone, after the whole recording")
                    continue
                strongest = sorted(answer.heard, key=lambda one: -abs(one.weight))[:STRONGEST]
                longest = abs(strongest[0].weight) or 1.0
                for one in sorted(strongest, key=lambda one: one.start or 0.0):
                    bar = ("+" if one.weight > 0 else "-") * max(1, round(BAR * abs(one.weight) / longest))
                    seconds = f"{one.start:.2f} to {one.end:.2f}"
                    table.add_row(*named, seconds, str(one.unit), f"{one.weight:+.2f}", bar)
    return table


def _shown(answer: Answer, top: int) -> list[tuple[str | None, float]]:
    """The first labels with their probabilities; one that abstained begins with no label, which stands for the answer,
    and goes on with the labels only if more than one was asked for."""
    labels: list[tuple[str | None, float]] = list(zip(answer.labels, answer.probabilities, strict=True))
    if not answer.abstained:
        return labels[:top]
    return [(None, answer.probabilities[0]), *(labels[:top] if top > 1 else [])]
