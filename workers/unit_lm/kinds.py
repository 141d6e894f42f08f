"""The kinds of unit LM there are; one line registers another."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from workers.unit_lm.gslm import UnitLM, UnitLMConfig
from workers.unit_lm.pgslm import MultistreamConfig, MultistreamLM

LMConfig = Annotated[UnitLMConfig | MultistreamConfig, Field(discriminator="kind")]
"""The settings of any kind, told apart by ``kind``."""
LM_KINDS = ("gslm", "pgslm")


def build_lm(config: UnitLMConfig, *, dropout: float = 0.0) -> UnitLM:
    """The module of a configuration, with undefined weights."""
    if isinstance(config, MultistreamConfig):
        return MultistreamLM(config, dropout=dropout)
    return UnitLM(config, dropout=dropout)


def parameter_count(config: UnitLMConfig) -> int:
    """Numbers of an LM, without making it."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_lm(config).parameters())
