"""The multi-stream unit LM pGSLM: fairseq's ``transformer_ulm_big``.

The body is GSLM's. Every position also takes the duration and the F0 of the unit *before* its own (both streams are
shifted by one, ``stream_shifts="1,1"``), and one bias-free head scores the next unit, this unit's duration and its F0,
side by side.

Shapes: N packed tokens, D dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from workers.unit_lm.engine.frozen_linear import Projection
from workers.unit_lm.engine.rows import Rows
from workers.unit_lm.pgslm.config import PGSLMConfig
from workers.unit_lm.pgslm.streams import DURATION_PAD, ProsodyInputs, prosody_inputs
from workers.unit_lm.transformer import TransformerLM


class PGSLM(TransformerLM):
    """A unit LM with duration and F0 streams.

    Args:
        config: sizes, ids and kind of streams.
        dropout: as of ``TransformerLM``.
    """

    config: PGSLMConfig
    # Two of the four, by the kind of the streams.
    duration_embed: nn.Embedding
    f0_embed: nn.Embedding
    duration_proj: Projection
    f0_proj: Projection

    def __init__(self, config: PGSLMConfig, *, dropout: float = 0.0) -> None:
        super().__init__(config, dropout=dropout)
        dim = config.dim
        if config.discrete:
            self.duration_embed = _embedding(config.duration_ids, dim, DURATION_PAD)
            self.f0_embed = _embedding(config.f0_ids, dim, int(config.f0_pad))
        else:
            self.duration_proj, self.f0_proj = Projection(1, dim), Projection(1, dim)
        self.head = Projection(dim, config.outputs, bias=False)

    def initialise(self, seed: int) -> None:
        """Draw fresh weights; what the streams add is drawn like unscaled unit embeddings."""
        super().initialise(seed)
        generator = torch.Generator().manual_seed(seed + 1)
        for name, parameter in self.named_parameters():
            if name.startswith(("duration_", "f0_", "head")) and parameter.dim() == 2:
                nn.init.normal_(parameter, std=self.config.dim**-0.5, generator=generator)
        if self.config.discrete:
            with torch.no_grad():
                self.duration_embed.weight[DURATION_PAD] = 0
                self.f0_embed.weight[int(self.config.f0_pad)] = 0

    def stream_terms(self, rows: Rows) -> Tensor:
        return self.prosody_terms(prosody_inputs(rows, self.config))

    def prosody_terms(self, prosody: ProsodyInputs) -> Tensor:
        """What durations and F0 add to the scaled embeddings of their tokens, [N, D].

        A model that ignores a stream reads zeros there: the embedding of class 0, or the bias of the linear map.
        """
        durations = torch.zeros_like(prosody.durations) if self.config.ignore_duration else prosody.durations
        f0 = torch.zeros_like(prosody.f0) if self.config.ignore_f0 else prosody.f0
        if self.config.discrete:
            terms: Tensor = self.duration_embed(durations) + self.f0_embed(f0)
        else:
            terms = self.duration_proj(durations[:, None]) + self.f0_proj(f0[:, None])
        return terms if prosody.present is None else terms * prosody.present[:, None]

    def logits(self, states: Tensor) -> Tensor:
        return F.linear(states, self.head.weight)


def _embedding(rows: int, dim: int, pad: int) -> nn.Embedding:
    # Given its weight for the same reason as the unit embedding.
    return nn.Embedding(rows, dim, padding_idx=pad, _weight=torch.zeros(rows, dim))
