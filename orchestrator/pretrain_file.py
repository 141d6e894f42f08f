"""The file that describes a backbone to pretrain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, PrivateAttr, ValidationError

from infra import object_storage
from infra.errors import InvalidInputs, Problem
from orchestrator.job import Resources, overridden_values, sources_of_fields, task_patterns, tracking_address
from task_specs.location import Location
from task_specs.slug import Slug
from task_specs.validation import problems_of
from task_specs.yaml_file import read_yaml
from workers.backbone.pretrain import PretrainSettings


class UnitLMSection(BaseModel):
    """Sizes of the unit LM; the published one is 12 x 1024 x 16 x 4096."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["gslm"] = "gslm"
    layers: int = Field(6, ge=1, le=128)
    dim: int = Field(256, ge=8, le=8192)
    heads: int = Field(4, ge=1, le=128)
    ffn_dim: int = Field(1024, ge=8, le=65536)


class TokenizerSection(BaseModel):
    """How audio becomes units; settings beyond these are the tokenizer's own."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: Literal["mfcc", "external"] = "mfcc"
    units: int = Field(100, ge=2, le=10_000)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings, as the tokenizer takes them."""
        return self.model_dump()


class PretrainFile(BaseModel):
    """A backbone to make. Only ``out`` and ``tasks`` are required; every path is absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Slug
    """How people call the backbone; default: the file's name."""
    out: Location
    """Directory of the finished backbone, local or S3."""
    tasks: Annotated[tuple[Location, ...], Field(min_length=1), BeforeValidator(task_patterns)]
    """Paths and globs of task specs; their training rows, without labels, are the text, their validation rows give
    the perplexity."""
    tokenizer: TokenizerSection = Field(default_factory=TokenizerSection)
    unit_lm: UnitLMSection = Field(default_factory=UnitLMSection)
    training: PretrainSettings = Field(default_factory=PretrainSettings)
    licence: str = Field("", max_length=2000)
    """Recorded in the backbone."""
    storage: Location
    """Ray Train's checkpoints; default: ``./runs``."""
    tracking: Annotated[str, PlainValidator(tracking_address)]
    """MLflow tracking URI; default: ``sqlite:///mlflow.db`` beside the file."""
    units: Location
    """Unit cache; default: ``./units``."""
    resources: Resources = Field(default_factory=Resources)
    """Of one data-parallel worker, and how many there are; default one worker."""

    _source: str = PrivateAttr("")

    def model_post_init(self, context: Any, /) -> None:
        self._source = (context or {}).get("source", "")

    @property
    def source(self) -> str:
        """URI of the file."""
        return self._source


DEFAULTS = {"storage": "runs", "tracking": "sqlite:///mlflow.db", "units": "units"}


def load_pretrain_file(path: str, overrides: Sequence[str] = ()) -> PretrainFile:
    """Read the description of a backbone to pretrain.

    Args:
        path: the file, local or ``s3://``.
        overrides: fields to set, ``a.b=VALUE``.

    Raises:
        InvalidInputs: everything that is wrong with it.
    """
    uri = object_storage.resolve(path, str(Path.cwd()))
    file, problems = read_yaml(uri)
    if file is None:
        raise InvalidInputs(problems)
    values, places, wrong = overridden_values(file.data, overrides)
    problems += wrong
    values.setdefault("name", object_storage.basename(uri).rpartition(".")[0])
    for field, default in DEFAULTS.items():
        if field not in values and object_storage.is_s3(uri):
            problems.append(Problem(uri, field, "has no default for a file in S3", f"add '{field}:'"))
        values.setdefault(field, default if not object_storage.is_s3(uri) else "http://unset")
    context = {"base": object_storage.parent(uri), "source": uri}
    models = {
        (): PretrainFile,
        ("tokenizer",): TokenizerSection,
        ("unit_lm",): UnitLMSection,
        ("training",): PretrainSettings,
        ("resources",): Resources,
    }
    try:
        described = PretrainFile.model_validate(values, context=context)
    except ValidationError as error:
        problems += problems_of(error, where=sources_of_fields(file, places), models=models)
        raise InvalidInputs(problems) from error
    if problems:
        raise InvalidInputs(problems)
    return described
