"""``bundle.json``: what a bundle says about itself.

Every field is checked for type and size, and unknown fields are refused: a reader that skips what it does not
know would classify with half of what the writer meant. A change of meaning is a new ``format_version``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, model_validator

from infra.digest import Count, FileEntry, Sha256, canonical_json
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Split
from task_specs.label import MOST_LABELS, MOST_SLOTS, Label, Line

FORMAT_VERSION: Final = 5
ONE_PROMPT_FORMAT: Final = 4
"""The newest, and that of a bundle of one prompt, which knows of no ensembles. 3 knows of no readings, and of no prompt
without vectors; 2 says in ``preprocessing`` and ``recipe`` what ``inference`` does since, and 1 has no calibration,
intervals, and positive class either."""
FileName = Literal["prompt.safetensors", "README.md"]
PROMPT_FILE: Final = "prompt.safetensors"
CARD_FILE: Final = "README.md"
MANIFEST_FILE = "bundle.json"
LATEST_FILE = "latest.json"
MOST_MEMBERS: Final = 100
PAYLOAD: tuple[FileName, ...] = (PROMPT_FILE, CARD_FILE)
"""The files a manifest vouches for, in the order they are written."""

_Item = TypeVar("_Item")

# Read by pydantic's regex engine, in which $ is the very end, not the place before a last line break.
_SLUG = r"^[a-z0-9][a-z0-9._-]{0,63}$"
_VERSION = r"^[0-9a-f]{16}$"


def _distinct(items: tuple[_Item, ...]) -> tuple[_Item, ...]:
    if len(set(items)) != len(items):
        raise ValueError("holds an entry twice")
    return items


def _absent(value: object) -> bool:
    """Whether a field is left out of the document, so that a manifest of an older format is what it was."""
    return value is None


def _sayable(settings: dict[str, JsonValue]) -> dict[str, JsonValue]:
    canonical_json(settings)  # refuses numbers that are not finite
    return settings


Slug = Annotated[str, Field(pattern=_SLUG)]
Version = Annotated[str, Field(pattern=_VERSION)]
Labels = Annotated[tuple[Label, ...], Field(min_length=1, max_length=MOST_LABELS), AfterValidator(_distinct)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Settings = Annotated[dict[Line, JsonValue], Field(max_length=200), AfterValidator(_sayable)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Task(_Section):
    """The task, as its spec names it."""

    name: Slug
    family: Line = ""
    language: Line = ""


class Slot(_Section):
    """One label that is read per utterance; the order of ``labels`` is the order of the scores."""

    name: Label
    labels: Labels


class Metric(_Section):
    """What the prompt was selected by."""

    name: Slug
    positive: Label | None = Field(None, exclude_if=_absent)
    """The positive class of ``f1`` and ``eer``."""


class Spread(_Section):
    """One metric over the seeds of the task."""

    value: float
    """Of the published prompt."""
    mean: float
    std: Annotated[float, Field(ge=0)]
    seeds: Annotated[int, Field(ge=1, le=10_000)]
    interval: tuple[float, float] | None = Field(None, exclude_if=_absent)
    """Of the published prompt's value: 95 %, by bootstrap over the examples of the split or their speakers."""


class Calibration(_Section):
    """How scores become probabilities that can be taken at their word."""

    temperatures: Annotated[tuple[Annotated[float, Field(gt=0, le=1e6)], ...], Field(min_length=1, max_length=64)]
    """By which the scores of each slot are divided before the softmax; fitted on validation."""


class Prompt(_Section):
    """Sizes of the tensors, and how logits over the vocabulary become scores of classes."""

    length: Annotated[int, Field(ge=0, le=65_536)]
    """Key and value vectors per layer; 0, since format 4, where only what follows them was tuned."""
    layers: Annotated[int, Field(ge=1, le=1_024)]
    dim: Annotated[int, Field(ge=1, le=65_536)]
    vocabulary: Annotated[int, Field(ge=1, le=10_000_000)]
    """Scores of the LM that are read, the units' first; a multi-stream LM has more."""
    reading: Literal["separator", "mean", "pooled"] | None = Field(None, exclude_if=_absent)
    """What the verbalizer reads besides the scores at the separators, since format 4: nothing, or ``dim`` features that
    sum up the states which the layers' attention sees. Absent: ``separator``."""
    verbalizer: Literal["linear", "frequency", "random"]
    special_rows: Annotated[int, Field(ge=0, le=64)] = 0
    """Rows of a linear verbalizer before those of the classes, trained by the ``paper`` loss; not read."""
    verbalizer_units: (
        Annotated[tuple[Annotated[tuple[Count, ...], Field(max_length=20_000)], ...], Field(max_length=64)] | None
    ) = None
    """For ``frequency`` and ``random``: per slot and class, the vocabulary entry whose logit is the score."""
    members: (
        Annotated[tuple[Seed, ...], Field(min_length=2, max_length=MOST_MEMBERS), AfterValidator(_distinct)] | None
    ) = Field(None, exclude_if=_absent)
    """Seeds of the prompts of an ensemble, since format 5. Every tensor then has them as its first axis, and the score
    of a class is the logarithm of its mean probability over them. Absent: one prompt."""

    @property
    def listens(self) -> bool:
        """Whether the verbalizer reads states besides the scores at the separators."""
        return self.reading not in (None, "separator")


class Inference(_Section):
    """What becomes of a recording until its scores are read: with ``prompt``, ``calibration``, the tensors and the
    backbone, all that a classifier needs."""

    sample_rate: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """In Hz, of the waveform that the tokenizer takes; recordings of other rates are resampled. Formats 1 and 2 leave
    it to the tokenizer."""
    audio: AudioPolicy
    """Its fields belong to the format: another one is a new ``format_version``."""
    separator_prosody: Literal["last", "none"]
    """Whether the first separator takes the last unit's duration and F0, on a multi-stream LM."""


class BackboneIdentity(_Section):
    """The frozen parts the prompt belongs to, by fingerprint; it means nothing on any other."""

    name: Line = ""
    unit_lm: Sha256
    tokenizer: Sha256


class Data(_Section):
    """What it was tuned and measured on."""

    digest: Sha256
    examples: dict[Split, Count]
    quarantined: Count = 0
    long: Count | None = Field(None, exclude_if=_absent)
    """Recordings that were longer than the audio policy allows, and cropped or cut into windows."""
    shots: Annotated[int, Field(ge=1, le=2**53)] | None = Field(None, exclude_if=_absent)
    """Training examples of each class, or combination of labels, that were drawn; absent, all were taken."""


class Provenance(_Section):
    """Where it came from; the only section that is not part of the version."""

    created: AwareDatetime
    code_version: Line = ""
    run_id: Line = ""
    experiment: Line = ""
    backbone_uri: Line = ""


class BundleManifest(_Section):
    """The whole of ``bundle.json``."""

    format_version: Literal[1, 2, 3, 4, 5] = ONE_PROMPT_FORMAT
    task: Task
    slots: Annotated[tuple[Slot, ...], Field(min_length=1, max_length=MOST_SLOTS)]
    metric: Metric
    results: dict[Split, Annotated[dict[Slug, Spread], Field(max_length=64 + MOST_SLOTS)]]
    prompt: Prompt
    recipe: Settings
    """How it was tuned. No reader acts on it since format 3; formats 1 and 2 say ``separator_prosody`` here alone."""
    calibration: Calibration | None = Field(None, exclude_if=_absent)
    """Absent, all temperatures are 1."""
    seed: Seed
    """Of the published prompt; of an ensemble that of its first."""
    backbone: BackboneIdentity
    inference: Inference | None = Field(None, exclude_if=_absent)
    """Since format 3; `workers.bundle.format.require_usable` gives it for every format."""
    preprocessing: Settings | None = Field(None, exclude_if=_absent)
    """Of formats 1 and 2: the audio policy as ``audio``."""
    data: Data
    files: dict[FileName, FileEntry] = {}
    """Filled in when the bundle is packed; a manifest in a store names all of them."""
    provenance: Provenance

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _distinct(tuple(slot.name for slot in self.slots))
        intervals = any(spread.interval for split in self.results.values() for spread in split.values())
        new = (self.calibration, self.metric.positive, self.data.long, self.data.shots, intervals or None)
        if self.format_version == 1 and any(value is not None for value in new):
            raise ValueError(
                "calibration, metric.positive, data.long, data.shots and intervals belong to format_version 2"
            )
        if self.format_version < 3 and (self.inference is not None or self.preprocessing is None):
            raise ValueError("before format_version 3 there is preprocessing, and no inference")
        if self.format_version >= 3:
            if self.preprocessing is not None:
                raise ValueError("preprocessing belongs to format_version 1 and 2")
            if self.inference is None or self.inference.sample_rate is None:
                raise ValueError("inference must hold the sample_rate since format_version 3")
        if (self.format_version >= 5) != (self.prompt.members is not None):
            raise ValueError("prompt.members belongs to format_version 5, and must be there since")
        if self.prompt.members is not None and self.prompt.verbalizer != "linear":
            raise ValueError("prompt.members belongs to a linear verbalizer only")
        if (self.format_version >= 4) != (self.prompt.reading is not None):
            raise ValueError("prompt.reading belongs to format_version 4, and must be there since")
        if self.format_version < 4 and not self.prompt.length:
            raise ValueError("prompt.length must be 1 at least before format_version 4")
        if self.prompt.listens and (self.prompt.verbalizer != "linear" or self.prompt.special_rows):
            raise ValueError("prompt.reading gives features to a linear verbalizer without special rows only")
        if len(self.temperatures) != len(self.slots):
            raise ValueError("calibration.temperatures must hold one entry per slot")
        if self.metric.positive is not None and self.metric.positive not in self.slots[0].labels:
            raise ValueError("metric.positive must be a label")
        units = self.prompt.verbalizer_units
        if self.prompt.verbalizer == "linear":
            if units is not None:
                raise ValueError("prompt.verbalizer_units belongs to frequency and random verbalizers only")
            return self
        if self.prompt.special_rows:
            raise ValueError("prompt.special_rows belongs to a linear verbalizer only")
        if units is None or [len(row) for row in units] != [len(slot.labels) for slot in self.slots]:
            raise ValueError("prompt.verbalizer_units must hold one entry per label of every slot")
        if any(len(set(row)) != len(row) or max(row) >= self.prompt.vocabulary for row in units):
            raise ValueError("prompt.verbalizer_units must be distinct entries of the vocabulary")
        return self

    @property
    def version(self) -> str:
        """First 16 hex digits of the SHA-256 over everything but provenance; digests of files are part of it."""
        content = self.model_dump(mode="json", exclude={"provenance"})
        return hashlib.sha256(canonical_json(content)).hexdigest()[:16]

    @property
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of ``prompt.safetensors``, all float32, little-endian."""
        prompt = self.prompt
        shapes: dict[str, tuple[int, ...]] = {
            "prompt.keys": (prompt.layers, prompt.length, prompt.dim),
            "prompt.values": (prompt.layers, prompt.length, prompt.dim),
            "separators": (len(self.slots), prompt.dim),
        }
        if prompt.listens:
            shapes["reading.layers"] = (prompt.layers,)
        if prompt.reading == "pooled":
            shapes["reading.queries"] = (len(self.slots), prompt.dim)
        inputs = prompt.vocabulary + (prompt.dim if prompt.listens else 0)
        if prompt.verbalizer == "linear":
            for index, slot in enumerate(self.slots):
                shapes[f"verbalizer.{index}"] = (prompt.special_rows + len(slot.labels), inputs)
        members = () if prompt.members is None else (len(prompt.members),)
        return {name: (*members, *shape) for name, shape in shapes.items()}

    @property
    def temperatures(self) -> tuple[float, ...]:
        """By which the scores of each slot are divided."""
        return (1.0,) * len(self.slots) if self.calibration is None else self.calibration.temperatures

    @property
    def parameters(self) -> int:
        """Trained numbers in the bundle."""
        return sum(math.prod(shape) for shape in self.tensor_shapes.values())

    def with_files(self, files: Iterable[tuple[str, bytes]]) -> Self:
        """The same manifest, vouching for these contents."""
        return self.model_copy(update={"files": {name: FileEntry.of(data) for name, data in files}})


class Latest(_Section):
    """``latest.json`` of a task: the version that readers of the task get."""

    format_version: Literal[1] = 1
    version: Version
