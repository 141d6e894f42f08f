"""The form in which the SpeechPrompt v2 release prompts GSLM, for comparison.

Prompt rows stand in the sequence before ``</s> u1 .. uT <s>``; in every layer the key and value sources of these rows
are overwritten with the layer's prompt before the layer's own projections (their queries, outputs and feed-forward are
computed and never matter); batches are padded to the longest row; scores are computed at all positions. Labels are
generated token by token without incremental state. The equality with ``workers.prompting.prompted_pass`` is asserted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from workers.prompting.prompted_pass import PromptTensors
from workers.unit_lm.engine.layer import Layer, sinusoids
from workers.unit_lm.gslm.model import GSLM


class ReferenceForm(nn.Module):
    """A prompted LM over the same frozen weights.

    Args:
        lm: the LM.
        prompt: what is trained; copied.
    """

    def __init__(self, lm: GSLM, prompt: PromptTensors) -> None:
        super().__init__()
        self.lm = lm
        self.keys, self.values = nn.Parameter(prompt.keys.clone()), nn.Parameter(prompt.values.clone())
        self.separators = nn.Parameter(prompt.separators.clone())
        self.input_prompt = nn.Parameter(torch.randn(prompt.keys.shape[1], lm.config.dim))
        self.register_buffer("positions", sinusoids(1024, lm.config.dim, lm.config.pad), persistent=False)

    def forward(self, tokens: Tensor, separator_at: Tensor | None) -> Tensor:
        """Scores at all positions.

        Args:
            tokens: padded rows beginning with the start token, int64 [B, T].
            separator_at: position of each row's separator, int64 [B]; ``None`` where no row has one yet.

        Returns:
            float32 [B, P + T, vocabulary].
        """
        config, scale = self.lm.config, self.lm.embed_scale
        rows, prompts = len(tokens), len(self.input_prompt)
        x = scale * F.embedding(tokens, self.lm.embed.weight)
        if separator_at is not None:
            x = x.index_put((torch.arange(rows), separator_at), scale * self.separators.expand(rows, -1))
        x = x + cast(Tensor, self.positions)[config.pad + 1 : config.pad + 1 + tokens.shape[1]]
        x = torch.cat([self.input_prompt.expand(rows, -1, -1), x], dim=1)
        for index, layer in enumerate(self.lm.layers):
            x = self._layer(cast(Layer, layer), x, self.keys[index], self.values[index], prompts)
        return F.linear(self.lm.norm(x), self.lm.embed.weight)

    def _layer(self, layer: Layer, x: Tensor, keys: Tensor, values: Tensor, prompts: int) -> Tensor:
        h = layer.attention_norm(x)
        key_source, value_source = (
            torch.cat([part.expand(len(x), -1, -1), h[:, prompts:]], dim=1) for part in (keys, values)
        )
        heads = self.lm.config.heads
        queries, answering, told = (
            F.linear(source, each.weight, each.bias).view(*h.shape[:2], heads, -1).transpose(1, 2)
            for source, each in ((h, layer.q_proj), (key_source, layer.k_proj), (value_source, layer.v_proj))
        )
        attended = F.scaled_dot_product_attention(queries, answering, told, is_causal=True).transpose(1, 2).flatten(2)
        x = x + F.linear(attended, layer.out_proj.weight, layer.out_proj.bias)
        hidden = F.relu(F.linear(layer.ffn_norm(x), layer.fc1.weight, layer.fc1.bias))
        return x + F.linear(hidden, layer.fc2.weight, layer.fc2.bias)


def padded(rows: Sequence[NDArray[np.int64]], lm: GSLM) -> tuple[Tensor, Tensor]:
    """Rows ``</s> u1 .. uT <s>`` padded to the longest, int64 [B, T + 2], and where each separator stands."""
    longest = max(map(len, rows)) + 2
    tokens = np.full((len(rows), longest), lm.config.pad)
    for place, row in enumerate(rows):
        tokens[place, : len(row) + 2] = [lm.config.start, *row, lm.config.bos]
    return torch.from_numpy(tokens), torch.tensor([len(row) + 1 for row in rows])


@torch.no_grad()
def generate_label(model: ReferenceForm, rows: Sequence[NDArray[np.int64]], label_scores: Tensor) -> Tensor:
    """Labels token by token, as fairseq's generator forces a prefix: one full pass for every token, no state kept.

    Args:
        model: the prompted LM.
        rows: unit tokens, of one length.
        label_scores: verbalizer, [classes, vocabulary].

    Returns:
        Class of each row, int64 [B]; one more pass then predicts the end, as the generator does.
    """
    tokens, separator_at = padded(rows, model.lm)
    for step in range(1, tokens.shape[1]):
        model(tokens[:, :step], None)
    answer: Tensor = (model(tokens, separator_at)[:, -1] @ label_scores.T).argmax(dim=1)
    model(torch.cat([tokens, 4 + answer[:, None]], dim=1), separator_at)
    return answer
