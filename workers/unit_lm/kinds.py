"""The kinds of unit LM: a kind is a folder with a configuration, a module and an objective, and one line here.

A package of a user's own adds a kind by an entry point, whose name is the kind::

    [project.entry-points."speechprompt.unit_lms"]
    mine = "my_package.lm:KIND"

with ``KIND = UnitLMKind(MyConfig, MyLM, MySection)``. Every process in which the package is installed knows the kind:
the driver, Ray workers (install it in their environment, or name it in the job's runtime environment), and services
that classify. ``UNIT_LMS.register("mine", KIND)`` adds one to the present process alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Final, Union, cast

import torch
from pydantic import Field, PlainValidator, SerializeAsAny, TypeAdapter

from infra.errors import BackboneError
from infra.registry import Registry
from workers.unit_lm.fairseq import FairseqLM
from workers.unit_lm.gslm.config import GSLMConfig
from workers.unit_lm.gslm.fairseq import FairseqGSLM
from workers.unit_lm.gslm.model import GSLM
from workers.unit_lm.gslm.pretraining import GSLMSection
from workers.unit_lm.objective import NextUnit
from workers.unit_lm.pgslm.config import PGSLMConfig
from workers.unit_lm.pgslm.fairseq import FairseqPGSLM
from workers.unit_lm.pgslm.model import PGSLM
from workers.unit_lm.pgslm.pretraining import NextUnitAndProsody, PGSLMSection
from workers.unit_lm.section import UnitLMSection
from workers.unit_lm.unit_lm import UnitLM, UnitLMConfig


@dataclass(frozen=True)
class UnitLMKind:
    """Everything that the system knows of one kind.

    Attributes:
        config: its settings, whose ``kind`` is a literal of the kind's name.
        module: made as ``module(config, dropout=0.1)``.
        section: what a file to pretrain says of it; ``None`` for an LM that is only imported.
        objective: what pretraining minimises.
        fairseq: how its original checkpoints are read; ``None`` where there are none.
    """

    config: type[UnitLMConfig]
    module: type[UnitLM]
    section: type[UnitLMSection] | None = None
    objective: type[NextUnit] = NextUnit
    fairseq: FairseqLM[Any] | None = None


UNIT_LMS: Final = Registry[UnitLMKind]("unit LM", "speechprompt.unit_lms")
UNIT_LMS.register("gslm", UnitLMKind(GSLMConfig, GSLM, GSLMSection, fairseq=FairseqGSLM()))
UNIT_LMS.register("pgslm", UnitLMKind(PGSLMConfig, PGSLM, PGSLMSection, NextUnitAndProsody, FairseqPGSLM()))


def kind_of(config: UnitLMConfig) -> UnitLMKind:
    """The kind of a configuration.

    Raises:
        BackboneError: it is not registered in this process.
    """
    if config.kind not in UNIT_LMS:
        raise BackboneError(
            f"there is no unit LM of kind {config.kind!r} in this process; install the package that registers it"
        )
    return UNIT_LMS[config.kind]


@cache
def _configs(kinds: tuple[type[UnitLMConfig], ...]) -> TypeAdapter[UnitLMConfig]:
    union: Any = Annotated[Union[kinds], Field(discriminator="kind")]  # noqa: UP007 (made while running)
    return TypeAdapter(union)


def parse_config(value: Any) -> UnitLMConfig:
    """The settings of a registered kind, told apart by ``kind``.

    Raises:
        pydantic.ValidationError: there is no such kind, or a setting is missing, unknown or out of range.
    """
    return _configs(tuple(map(attrgetter("config"), UNIT_LMS.values()))).validate_python(value)


LMConfig = Annotated[SerializeAsAny[UnitLMConfig], PlainValidator(parse_config)]
"""A field of a pydantic model that holds the settings of any kind."""


def build_lm(config: UnitLMConfig, *, dropout: float = 0.0) -> UnitLM:
    """The module of a configuration, with undefined weights.

    Raises:
        BackboneError: its kind is not registered in this process.
    """
    # A kind's module takes what a kind's configuration is, which no type says.
    return cast(Any, kind_of(config).module)(config, dropout=dropout)  # type: ignore[no-any-return]


def parameter_count(config: UnitLMConfig) -> int:
    """Numbers of an LM, without making it."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_lm(config).parameters())
