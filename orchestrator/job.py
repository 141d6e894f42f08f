"""The job file: what to tune, on what, and where things live."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from infra import object_storage
from infra.errors import InvalidInputs, Problem
from infra.tracking.address import Address
from infra.tracking.trackers import TRACKERS
from task_specs.field_types import Location, Slug, expand, literal, located
from task_specs.file_kinds import mistaken
from task_specs.problems import shown
from task_specs.schema import MAX_TASKS, TaskSpec
from task_specs.validation import Models, described, dotted, fault, problems_of, suggestion
from task_specs.yaml_file import FileModel, Place, YamlFile, parse_value, read_yaml
from workers.baselines.kinds import BASELINES

MAX_GANG = 1024
COMMAND_LINE = "command line"


class InvalidJob(InvalidInputs):
    """A job file with problems.

    Attributes:
        rest: the job without its wrong fields, for checking everything else that it names; ``None`` if too little is
            left. Its ``backbone`` is empty if that field is wrong.
    """

    def __init__(self, problems: Sequence[Problem], rest: Job | None) -> None:
        super().__init__(problems)
        self.rest = rest


class Resources(BaseModel):
    """Resources of one actor and the largest number of actors; ``None``: the machine decides."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    gpus: float | None = Field(None, ge=0, le=64, allow_inf_nan=False)
    """GPUs of one actor; with a fraction, actors share a GPU."""
    cpus: float | None = Field(None, ge=0.01, le=1024, allow_inf_nan=False)
    """CPUs of one actor."""
    workers: int | None = Field(None, ge=1, le=10_000)
    """Largest number of actors."""

    @field_validator("gpus")
    @classmethod
    def _whole(cls, gpus: float | None) -> float | None:
        # Ray has the same rules.
        if gpus is not None and 0 < gpus < 0.001:
            raise fault(f"{gpus:g} GPUs are too small a share", "write 0, or 0.001 and more")
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise fault(f"{gpus:g} GPUs cannot be given to one actor", "above 1, write a whole number")
        return gpus


def task_patterns(value: Any) -> Any:
    """Wrap a single pattern into a list."""
    return [value] if isinstance(value, str) else value


def tracking_address(value: Any, info: ValidationInfo) -> str:
    """Validate the address of a registered tracker, and make the file of ``sqlite:///relative.db`` absolute."""
    if not isinstance(value, str):
        raise fault(f"must be an address, not {described(value)}", "write http://... or sqlite:///mlflow.db")
    try:
        address = expand(value)
    except PydanticCustomError as error:
        if "@" not in value:
            raise
        # Not quoted, since it may hold a password.
        raise fault("holds a '$' that begins no ${NAME} that is set", "write $$ for a dollar sign") from error
    database = re.match(r"sqlite:///(.+)", address)
    if database:
        path = located(literal(database[1]), info.context.get("base") if info.context else None)
        if object_storage.is_s3(path):
            raise fault("SQLite cannot keep its file in S3", "name an MLflow server, or a local file")
        return f"sqlite:///{path}"
    server = re.match(r"([a-z]+)(\+[a-z0-9]+)?://.|databricks", address)
    # SQLite without a file is no address of a server.
    if server is None or server[1] == "sqlite" or (server[1] or "databricks") not in TRACKERS:
        raise fault("is not an address that MLflow can track to", "write http://host:port or sqlite:///mlflow.db")
    return address


def _gang(value: Any) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_GANG:
        return value
    raise fault(f"must be 'auto' or a number of lanes, not {described(value)}", f"write auto, or 1 to {MAX_GANG}")


def _baselines(value: Any) -> Any:
    """Wrap a single baseline into a list, and drop repeated ones."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        raise fault(f"must be a list of baselines, not {described(value)}", f"choose from {', '.join(BASELINES)}")
    for name in names:
        if not isinstance(name, str) or name not in BASELINES:
            raise fault(f"there is no baseline {described(name)}", suggestion(str(name), tuple(BASELINES)))
    return tuple(dict.fromkeys(names))


class Job(FileModel):
    """A job. Its file must give ``backbone`` and ``tasks``; every path here is absolute."""

    name: Slug
    """Name of the job and of its MLflow experiment; identifies the job in its ``storage``; default: the file's name."""
    backbone: Location
    """Backbone directory."""
    tasks: Annotated[tuple[Location, ...], Field(min_length=1, max_length=MAX_TASKS), BeforeValidator(task_patterns)]
    """Paths and globs of task specs."""
    bundles: Location
    """Directory in which bundles are published; default: ``./bundles``."""
    storage: Location
    """Directory of jobs' checkpoints, outcomes and reports; default: ``./runs``."""
    tracking: Annotated[Address, PlainValidator(tracking_address)]
    """MLflow tracking URI; default: ``sqlite:///mlflow.db`` beside the job file."""
    units: Location
    """Unit cache; default: ``./units``."""
    resources: Resources = Field(default_factory=Resources)
    gang: Annotated[int | Literal["auto"], PlainValidator(_gang)] = "auto"
    """Largest number of lanes that share a forward pass; ``auto`` measures the fastest when the job starts."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the LM's matrix products; ``auto``: bf16 if the hardware has units for it."""

    baselines: Annotated[tuple[str, ...], BeforeValidator(_baselines)] = ("majority", "ngrams")
    """Baselines to compute. The default omits those that pass all examples through the LM, all recordings through the
    tokenizer again, or a network over all examples many times."""

    def canonical(self) -> dict[str, Any]:
        """Return the job as JSON values with every default spelled out, for digests."""
        return self.model_dump(mode="json")


def load_job(path: str, overrides: Sequence[str] = ()) -> Job:
    """Read a job file.

    Args:
        path: local path or ``s3://`` URI of the file, relative to the working directory.
        overrides: fields to set, as ``a.b=VALUE`` with a YAML value; paths are resolved as in the file.

    Raises:
        InvalidInputs: the file cannot be read as YAML.
        InvalidJob: the file or the overrides have problems; it lists all of them.
        StorageError: ``path`` is not a valid path.
    """
    uri = object_storage.resolve(path, str(Path.cwd()))
    file, problems = read_yaml(uri)
    if file is None:
        raise InvalidInputs(problems)
    if another := mistaken(uri, file.data, "job"):
        raise InvalidInputs(another)
    values, overridden, wrong = overridden_values(file.data, overrides)
    problems += wrong + _set_defaults(values, uri)
    context = {"base": object_storage.parent(uri), "source": uri}
    try:
        job = Job.model_validate(values, context=context)
    except ValidationError as error:
        where = sources_of_fields(file, overridden)
        models: Models = {(): Job, ("resources",): Resources}
        problems += problems_of(error, where=where, models=models, elsewhere=_OF_A_TASK)
        wrong_fields = {str(detail["loc"][0]) for detail in error.errors() if detail["loc"]}
        raise InvalidJob(problems, _rest(values, wrong_fields, uri)) from error
    if problems:
        raise InvalidJob(problems, job)
    return job


def _rest(values: dict[str, Any], wrong: set[str], uri: str) -> Job | None:
    left = {name: value for name, value in values.items() if name not in wrong}
    _set_defaults(left, uri)
    backbone = left.setdefault("backbone", ".")
    context = {"base": object_storage.parent(uri), "source": uri}
    try:
        job = Job.model_validate(left, context=context)
    except ValidationError:
        return None
    return job if backbone != "." else job.model_copy(update={"backbone": ""})


_OF_A_TASK = dict.fromkeys(
    TaskSpec.model_fields.keys() - Job.model_fields.keys(), "it belongs to a task; set it in the task's file"
)


@dataclass(frozen=True)
class FieldSource:
    """Says where a field was set: a line of the job file, or the command line."""

    file: YamlFile
    overridden: frozenset[Place]

    def __call__(self, place: Place) -> str:
        heads = {place[:length] for length in range(1, len(place) + 1)}
        return COMMAND_LINE if heads & self.overridden else self.file.where(place)


def sources_of_fields(file: YamlFile, overridden: Sequence[Place]) -> FieldSource:
    """Return a function that says where each field of a file with overrides was set."""
    return FieldSource(file, frozenset(overridden))


def _set_defaults(values: dict[str, Any], uri: str) -> list[Problem]:
    """Fill in optional fields. Directories have no default beside a job file in S3."""
    if "name" not in values:
        values["name"] = object_storage.basename(uri).rpartition(".")[0] or object_storage.basename(uri)
    problems = []
    for field, default in _DEFAULTS.items():
        if field in values:
            continue
        values[field] = default
        if object_storage.is_s3(uri):
            # A valid stand-in, so that the other fields are still checked.
            values[field] = "http://unset" if field == "tracking" else uri
            message = "has no default for a job file in S3"
            problems.append(Problem(shown(uri), field, message, f"add '{field}:'"))
    return problems


_DEFAULTS = {
    "bundles": "bundles",
    "storage": "runs",
    "tracking": "sqlite:///mlflow.db",
    "units": "units",
}


def overridden_values(
    data: dict[str, Any], overrides: Sequence[str]
) -> tuple[dict[str, Any], list[Place], list[Problem]]:
    """Return ``data`` with the overrides applied, the fields that they set, and their problems."""
    values = dict(data)
    places: list[Place] = []
    problems: list[Problem] = []
    for override in overrides:
        name, equals, text = override.partition("=")
        keys: tuple[str, ...] = tuple(name.strip().split("."))
        if not equals or not all(keys):
            message = f"{override!r} is not an assignment"
            problems.append(Problem(COMMAND_LINE, "", message, "write field=VALUE, such as resources.gpus=0.5"))
            continue
        try:
            value = parse_value(text)
        except yaml.YAMLError:
            message = f"{described(text)} is not a YAML value"
            problems.append(Problem(COMMAND_LINE, dotted(keys), message, "put it in quotes"))
            continue
        section = values
        for depth, key in enumerate(keys[:-1], start=1):
            inner = section.get(key)
            if key in section and inner is not None and not isinstance(inner, dict):
                message = f"{dotted(keys[:depth])!r} has no fields"
                problems.append(Problem(COMMAND_LINE, dotted(keys), message, "name a field that exists"))
                break
            # Copied, because a YAML alias may use the same mapping elsewhere in the file.
            section[key] = dict(inner or {})
            section = section[key]
        else:
            section[keys[-1]] = value
            places.append(keys)
    return values, places, problems
