"""The model card of a bundle, for whoever finds its directory."""

from __future__ import annotations

from itertools import accumulate

import yaml

from infra.printable import markdown_text as plain
from infra.printable import printable
from task_specs.example import SPLITS
from workers.bundle.manifest import BundleManifest, Prompt, Slot, Spread

_LABELS_SHOWN = 100
_CHARACTERS_SHOWN = 200_000
"""Of the labels of all slots; with four bytes each they leave room for the rest in what readers accept of a card."""
_LIMITS = """\
## Limits

Every recording gets one of the labels above, also one that belongs to none of them. The figures hold for speakers,
rooms and languages like those of the data; measure again before using it elsewhere. It must not decide about people
by itself."""


def card(manifest: BundleManifest, *, licence: str = "") -> str:
    """``README.md``: Markdown that depends on everything but provenance and files, as the version does.

    Args:
        manifest: what it is the card of.
        licence: under which the data may be used. The card alone says so: readers refuse manifests with fields that
            they do not know, and need no licence to answer.
    """
    sections = (
        _front_matter(manifest),
        _introduction(manifest),
        _labels(manifest),
        _results(manifest),
        _use(manifest),
        _origin(manifest, licence),
        _LIMITS,
    )
    return "\n\n".join(sections) + "\n"


def _front_matter(manifest: BundleManifest) -> str:
    fields = {"library_name": "speechprompt", "pipeline_tag": "audio-classification"}
    if manifest.task.language:
        fields["language"] = manifest.task.language
    seen = all(printable(value) == value for value in fields.values())
    return f"---\n{yaml.safe_dump(fields, allow_unicode=seen, sort_keys=False)}---"


def _introduction(manifest: BundleManifest) -> str:
    task, prompt = manifest.task, manifest.prompt
    reading = f"`{prompt.reading}` reading, " if prompt.reading is not None else ""
    kind = ", ".join(plain(text) for text in (task.family, task.language) if text)
    what = (
        f"{len(prompt.members)} speech classification prompts" if prompt.members else "A speech classification prompt"
    )
    return (
        f"# {plain(task.name)}\n\n"
        f"{what}{f' ({kind})' if kind else ''}: {manifest.parameters:,} trained numbers "
        f"for a frozen spoken language model. Length {prompt.length}, {prompt.layers} layers of {prompt.dim}, "
        f"{reading}`{prompt.verbalizer}` verbalizer.{_members(prompt)}"
    )


def _members(prompt: Prompt) -> str:
    if prompt.members is None:
        return ""
    seeds = ", ".join(map(str, prompt.members))
    return (
        f" An ensemble of {len(prompt.members)} prompts, of seeds {seeds}: the probability of a label is the mean of "
        "theirs. They share one forward pass, which has as many rows for each recording."
    )


def _labels(manifest: BundleManifest) -> str:
    room = _CHARACTERS_SHOWN // len(manifest.slots)
    return "## Labels\n\n" + "\n".join(_slot(slot, room) for slot in manifest.slots)


def _slot(slot: Slot, room: int) -> str:
    ends = accumulate(len(label) + len(", ") for label in slot.labels[:_LABELS_SHOWN])
    shown = sum(end <= room for end in ends)
    labels = ", ".join(plain(label) for label in slot.labels[:shown])
    rest = len(slot.labels) - shown
    return f"- {_strong(slot.name)} ({len(slot.labels)}): {labels}" + (f", and {rest} more" if rest > 0 else "")


def _results(manifest: BundleManifest) -> str:
    rows = [
        f"| {split} | {plain(name)} | {figure.value:.4f} | {_interval(figure)} | {figure.mean:.4f} ± {figure.std:.4f} "
        f"| {figure.seeds} |"
        for split in SPLITS
        for name, figure in sorted(manifest.results.get(split, {}).items())
    ]
    if not rows:
        return "## Results\n\nNone were recorded."
    this = "this prompt" if manifest.prompt.members is None else "together"
    head = (f"| split | metric | {this} | 95 % | mean ± std | seeds |", "| --- | --- | --- | --- | --- | --- |")
    positive = manifest.metric.positive
    detected = f", of which {plain(positive)} is the positive class," if positive is not None else ""
    selected = f"Selected by {plain(manifest.metric.name)}{detected} on the validation split{_among(manifest)}."
    sections = ["\n".join((*head, *rows)), selected]
    if len(manifest.slots) > 1:
        sections.append("`accuracy` has every slot right; `accuracy_slot1` is that of the first slot above, and so on.")
    if manifest.calibration is not None:
        fitted = ", ".join(
            f"{temperature:g} ({plain(slot.name)})"
            for slot, temperature in zip(manifest.slots, manifest.temperatures, strict=True)
        )
        sections.append(
            f"Scores are divided by a temperature, fitted on the validation split: {fitted}. `ece` is the expected "
            "calibration error with it, over 15 bins of confidence, `ece_uncalibrated` that without. Intervals are by "
            "bootstrap over test examples, or speakers where the task says so."
        )
    return "## Results\n\n" + "\n\n".join(sections)


def _interval(figure: Spread) -> str:
    return "" if figure.interval is None else f"{figure.interval[0]:.4f} to {figure.interval[1]:.4f}"


def _among(manifest: BundleManifest) -> str:
    match manifest.recipe.get("sweep"):
        case {"chosen": str(chosen), "valid": dict(points)}:
            seeds = "the best" if manifest.prompt.members is None else "all"
            return f": {plain(chosen)} among {len(points)} settings by the mean over seeds, and of its seeds {seeds}"
    return ""


def _use(manifest: BundleManifest) -> str:
    return (
        "## Use\n\n"
        "```sh\n"
        "pip install speechprompt\n"
        "speechprompt bundle verify THIS_DIRECTORY\n"
        "speechprompt classify --bundle THIS_DIRECTORY --backbone BACKBONE recording.wav\n"
        "```\n\n"
        f"`BACKBONE` is the directory of {plain(manifest.backbone.name) or 'the backbone'} with the "
        f"fingerprints below; any other is refused.{_recordings(manifest)}"
    )


def _recordings(manifest: BundleManifest) -> str:
    if manifest.inference is None:
        return ""
    audio = manifest.inference.audio
    short = {"pad": "padded with silence", "quarantine": "refused"}[audio.too_short]
    long = {"crop": "cropped", "window": "cut into windows, whose scores are averaged"}.get(audio.too_long, "refused")
    return (
        f" Recordings are mixed down to one channel and resampled to {manifest.inference.sample_rate:,} Hz; "
        f"those below {audio.min_seconds:g} s are {short}, those above {audio.max_seconds:g} s {long}."
    )


def _origin(manifest: BundleManifest, licence: str) -> str:
    backbone, data = manifest.backbone, manifest.data
    counts = ", ".join(f"{data.examples[split]:,} {split}" for split in SPLITS if split in data.examples)
    return (
        "## Backbone and data\n\n"
        f"- Unit LM: `{backbone.unit_lm}`\n"
        f"- Tokenizer: `{backbone.tokenizer}`\n"
        f"- Data: {counts or 'not counted'}{_shots(manifest)}; {data.quarantined:,} quarantined;{_long(manifest)} "
        f"digest `{data.digest}`\n"
        f"{_licence(licence)}"
        f"- Recipe: {plain(str(manifest.recipe.get('name', 'unnamed')))}, {seeds_of(manifest)}"
    )


def seeds_of(manifest: BundleManifest) -> str:
    """The seed of a prompt, or the seeds of an ensemble, in words."""
    members = manifest.prompt.members
    return f"seed {manifest.seed}" if members is None else f"seeds {', '.join(map(str, members))} together"


def _strong(text: str) -> str:
    # Stars beside a space are shown as stars.
    inner = plain(text.strip())
    return f"**{inner}**" if inner else "(a space)"


def _licence(licence: str) -> str:
    # A spec may have it on several lines.
    folded = " ".join(licence.split())
    return f"- Licence of the data: {plain(folded)}\n" if folded else ""


def _shots(manifest: BundleManifest) -> str:
    shots = manifest.data.shots
    return "" if shots is None else f"; training examples are {shots} of each class, drawn with the seed"


def _long(manifest: BundleManifest) -> str:
    if not manifest.data.long or manifest.inference is None:
        return ""
    audio = manifest.inference.audio
    done = "cut into windows of" if audio.too_long == "window" else "cropped to"
    return f" {manifest.data.long:,} {done} {audio.max_seconds:g} s;"
