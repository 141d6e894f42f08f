"""The pretraining file, which describes a backbone to pretrain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
)

from infra import object_storage
from infra.errors import InvalidInputs, Problem
from infra.tracking.address import Address
from orchestrator.job import Resources, overridden_values, sources_of_fields, task_patterns, tracking_address
from task_specs.field_types import Location, Slug
from task_specs.file_kinds import mistaken
from task_specs.schema import MAX_TASKS
from task_specs.validation import Models, described, fault, problems_of, suggestion
from task_specs.yaml_file import FileModel, read_yaml
from workers.speech.f0 import F0Settings
from workers.speech.mfcc import MfccConfig
from workers.speech.tokenizer import TOKENIZERS
from workers.speech.unit_prosody import ProsodySettings
from workers.unit_lm.gslm.pretraining import GSLMSection
from workers.unit_lm.kinds import UNIT_LMS
from workers.unit_lm.pretraining import PretrainSettings
from workers.unit_lm.section import UnitLMSection


class BorrowedTokenizer(BaseModel):
    """The tokenizer of an existing backbone, such as an imported HuBERT."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["backbone"] = "backbone"
    uri: Location
    """Directory of that backbone."""


def tokenizer_sections() -> dict[str, type[BaseModel]]:
    """What ``tokenizer`` may be: the settings of each registered kind that has some, or another backbone's."""
    kinds = {name: kind.settings for name, kind in TOKENIZERS.items() if kind.settings is not None}
    return {**kinds, "backbone": BorrowedTokenizer}


def unit_lm_sections() -> dict[str, type[UnitLMSection]]:
    """What ``unit_lm`` may be: the section of each registered kind that can be pretrained."""
    return {name: kind.section for name, kind in UNIT_LMS.items() if kind.section is not None}


def _of_kind(value: Any, info: ValidationInfo, kinds: Mapping[str, type[BaseModel]], default: str) -> Any:
    """Validate a section as the settings of the kind that it names."""
    if isinstance(value, tuple(kinds.values())):
        return value
    if not isinstance(value, dict):
        raise fault(f"must be a mapping, not {described(value)}", "write kind: and its settings")
    kind = value.get("kind", default)
    if not isinstance(kind, str) or kind not in kinds:
        raise fault(f"there is no kind {described(kind)}", suggestion(str(kind), list(kinds)))
    return kinds[kind].model_validate(value, context=info.context)


def _tokenizer(value: Any, info: ValidationInfo) -> Any:
    return _of_kind(value, info, tokenizer_sections(), "mfcc")


def _unit_lm(value: Any, info: ValidationInfo) -> Any:
    return _of_kind(value, info, unit_lm_sections(), "gslm")


class PretrainFile(FileModel):
    """A backbone to pretrain. Its file must give ``out`` and ``tasks``; every path here is absolute."""

    name: Slug
    """Name of the backbone; default: the file's name."""
    out: Location
    """Directory of the new backbone, local or S3."""
    tasks: Annotated[tuple[Location, ...], Field(min_length=1, max_length=MAX_TASKS), BeforeValidator(task_patterns)]
    """Paths and globs of task specs; the LM is trained on their training rows, without labels, and its perplexity is
    measured on their validation rows."""
    tokenizer: Annotated[BaseModel, PlainValidator(_tokenizer)] = Field(default_factory=MfccConfig)
    """Tokenizer: ``kind`` and the settings of that kind; ``backbone`` is the tokenizer of an existing backbone."""
    unit_lm: Annotated[UnitLMSection, PlainValidator(_unit_lm)] = Field(default_factory=GSLMSection)
    """Sizes of the LM, and its ``kind``: ``gslm``, or ``pgslm`` with durations and F0."""
    training: PretrainSettings = Field(default_factory=PretrainSettings)
    licence: str = Field("", max_length=2000)
    """Licence of the weights, stored with the backbone."""
    storage: Location
    """Directory of Ray Train's checkpoints; default: ``./runs``."""
    tracking: Annotated[Address, PlainValidator(tracking_address)]
    """MLflow tracking URI; default: ``sqlite:///mlflow.db`` beside the file."""
    units: Location
    """Directory of the unit cache; default: ``./units``."""
    resources: Resources = Field(default_factory=Resources)
    """Resources of one data-parallel worker, and the number of workers; default: one worker."""


DEFAULTS = {"storage": "runs", "tracking": "sqlite:///mlflow.db", "units": "units"}


def load_pretrain_file(path: str, overrides: Sequence[str] = ()) -> PretrainFile:
    """Read a pretraining file.

    Args:
        path: local path or ``s3://`` URI of the file.
        overrides: fields to set, as ``a.b=VALUE``.

    Raises:
        InvalidInputs: the file or the overrides have problems; it lists all of them.
    """
    uri = object_storage.resolve(path, str(Path.cwd()))
    file, problems = read_yaml(uri)
    if file is not None and (another := mistaken(uri, file.data, "backbone")):
        raise InvalidInputs(another)
    if file is None:
        raise InvalidInputs(problems)
    values, places, wrong = overridden_values(file.data, overrides)
    problems += wrong
    values.setdefault("name", object_storage.basename(uri).rpartition(".")[0])
    for field, default in DEFAULTS.items():
        if field in values:
            continue
        values[field] = default
        if object_storage.is_s3(uri):
            # A valid stand-in, so that the other fields are still checked.
            values[field] = "http://unset" if field == "tracking" else uri
            problems.append(Problem(uri, field, "has no default for a file in S3", f"add '{field}:'"))
    context = {"base": object_storage.parent(uri), "source": uri}
    models: Models = {
        (): PretrainFile,
        ("tokenizer",): tokenizer_sections().get(_kind(values.get("tokenizer")), MfccConfig),
        ("unit_lm",): unit_lm_sections().get(_kind(values.get("unit_lm")), GSLMSection),
        ("unit_lm", "prosody"): ProsodySettings,
        ("unit_lm", "prosody", "tracker"): F0Settings,
        ("training",): PretrainSettings,
        ("resources",): Resources,
    }
    try:
        pretrain_file = PretrainFile.model_validate(values, context=context)
    except ValidationError as error:
        problems += problems_of(error, where=sources_of_fields(file, places), models=models)
        raise InvalidInputs(problems) from error
    if problems:
        raise InvalidInputs(problems)
    return pretrain_file


def _kind(section: Any) -> str:
    return str(section.get("kind")) if isinstance(section, dict) else ""
