"""Pretraining of a GSLM: its section of a file to pretrain."""

from __future__ import annotations

from typing import Literal

from workers.speech.sequences import UnitSequences
from workers.unit_lm.gslm.config import GSLMConfig
from workers.unit_lm.gslm.dictionary import SPECIAL_TOKENS
from workers.unit_lm.section import UnitLMSection


class GSLMSection(UnitLMSection):
    """A unit LM of units alone."""

    kind: Literal["gslm"] = "gslm"

    def lm_config(self, units: int, train: UnitSequences) -> tuple[GSLMConfig, tuple[int, ...]]:  # noqa: ARG002
        # As in fairseq's dictionaries, the special tokens stand before the units.
        vocabulary = units + SPECIAL_TOKENS
        return GSLMConfig(**self.sizes(), vocabulary=vocabulary), tuple(range(SPECIAL_TOKENS, vocabulary))
