"""What every unit LM is: a configuration, and a module that embeds rows, runs them and scores what comes next.

Shapes: B rows, N packed tokens of all rows, G prompts of P prefix vectors, D dim, S read positions a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from workers.speech.unit_prosody import ProsodySettings
from workers.unit_lm.engine.packing import Packing
from workers.unit_lm.engine.rows import Listener, Prefix, Reads, Rows


class UnitLMConfig(BaseModel):
    """Sizes and special ids of a unit LM; a kind narrows ``kind`` to its name and adds settings of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: str
    layers: int = Field(ge=1, le=1000)
    dim: int = Field(ge=4, le=65536)
    heads: int = Field(ge=1, le=1024)
    ffn_dim: int = Field(ge=1, le=1 << 20)
    vocabulary: int = Field(104, ge=5, le=1 << 20)
    bos: int = Field(0, ge=0)
    pad: int = Field(1, ge=0)
    eos: int = Field(2, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} is not a multiple of twice the heads, {self.heads}")
        if max(self.bos, self.pad, self.eos) >= self.vocabulary:
            raise ValueError(f"a special token is outside the vocabulary of {self.vocabulary}")
        return self

    @property
    def start(self) -> int:
        """Token that every row begins with."""
        return self.bos

    @property
    def outputs(self) -> int:
        """Scores at a position; the first ``vocabulary`` of them are those of the units."""
        return self.vocabulary

    @property
    def prosody_settings(self) -> ProsodySettings | None:
        """How the F0 that the LM reads is made; ``None`` for an LM of units alone."""
        return None


class UnitLM(nn.Module, ABC):
    """A language model over unit tokens; built with undefined weights, as ``module(config, dropout=0.1)``.

    Prompts enter as key/value prefixes (deep prompt tuning): per layer, vectors that pass through the layer's own
    key and value projections and that every token attends to.
    """

    config: UnitLMConfig

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where it computes."""

    @abstractmethod
    def initialise(self, seed: int) -> None:
        """Draw fresh weights from the seed alone."""

    @abstractmethod
    def token_vector(self, token: int) -> Tensor:
        """Embedding of a token as a trained vector would stand in its place, [D]."""

    @abstractmethod
    def embed_rows(self, rows: Rows, vectors: Tensor | None = None) -> Tensor:
        """The inputs of a pass: tokens, and whatever else the LM hears at them, [N + spare, D], without positions.

        Args:
            rows: where everything stands.
            vectors: trained vectors in place of the tokens at ``rows.vector_at``, [vectors, D].
        """

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        packing: Packing,
        *,
        prefix: Prefix | None = None,
        reads: Reads | None = None,
        trained: Tensor | None = None,
        listener: Listener | None = None,
    ) -> Tensor:
        """Normed output states of packed inputs.

        Args:
            x: of ``embed_rows``, [N, D].
            packing: where the tokens stand.
            prefix: prompts, each row with its own; ``None`` for the bare LM.
            reads: positions wanted; the last layer then computes nothing else but keys and values.
            trained: tokens whose inputs are trained, int64; the others' inputs get no gradient or a partial one, and
                the first layer saves that work. ``None``: all.
            listener: is given what the attention of each layer sees of all tokens; ``None``: nobody listens.

        Returns:
            [N, D], or [B * S, D] with ``reads``. ``logits`` turns them into scores.
        """

    @abstractmethod
    def logits(self, states: Tensor) -> Tensor:
        """Scores of what comes next, [N, D] to [N, config.outputs]."""

    @abstractmethod
    def project(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """A prompt's vectors [layers, P, D] through the layers' own key and value projections, 2 x [layers, P, D]."""

    @abstractmethod
    def attention_inputs(self, rows: Rows) -> Tensor:
        """What the layers' key and value projections see of rows without a prompt, float32 [layers, N, D] on the CPU,
        without gradient."""
