"""Sizes and special ids of a GSLM."""

from __future__ import annotations

from typing import Literal

from workers.unit_lm.unit_lm import UnitLMConfig


class GSLMConfig(UnitLMConfig):
    """Sizes and special ids; the published model is 12 layers, dim 1024, 16 heads, ffn_dim 4096, vocabulary 104."""

    kind: Literal["gslm"] = "gslm"

    @property
    def start(self) -> int:
        """``</s>``, which the published model never saw apart from ends."""
        return self.eos
