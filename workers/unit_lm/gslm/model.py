"""The unit LM GSLM: fairseq's ``transformer_lm_big``."""

from __future__ import annotations

from workers.unit_lm.transformer import TransformerLM


class GSLM(TransformerLM):
    """An LM of units alone: the body and nothing else."""
