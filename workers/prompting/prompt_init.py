"""Where a prompt begins."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from infra.errors import BundleError
from task_specs.recipe import Recipe
from workers.bundle.format import Bundle
from workers.prompting.prompt import KEYS, SEPARATORS, VALUES, PromptShape, verbalizer_name
from workers.prompting.prompted_pass import PromptRows, prosody_inputs
from workers.unit_lm.gslm import UnitLM
from workers.unit_lm.packing import Packing
from workers.unit_lm.pgslm import MultistreamLM


def initial_prompt(shape: PromptShape, recipe: Recipe, lm: UnitLM, generator: torch.Generator) -> Tensor:
    """A fresh prompt, float32 [shape.size], drawn from ``generator`` alone.

    Prompt vectors replace layer-normed states, so N(0, 1) has their scale. Separators are multiplied by the embedding
    scale like tokens; the reference draws them N(0, 1) all the same, 32 times too large at dim 1024, while the row
    of ``</s>`` (``separator_init: eos``) begins at a place the LM knows as the end of an utterance.
    """
    flat = torch.randn(shape.size, generator=generator)
    tensors = shape.views(flat)
    if recipe.separator_init == "eos":
        tensors[SEPARATORS].copy_(lm.embed.weight[lm.config.eos].detach().float().cpu())
    for slot in range(len(shape.classes) if shape.linear else 0):
        matrix = tensors[verbalizer_name(slot)]
        if recipe.verbalizer_init == "zero":
            matrix.zero_()
        else:
            bound = shape.vocabulary**-0.5
            matrix.uniform_(-bound, bound, generator=generator)
    return flat


def attention_inputs(lm: UnitLM, rows: PromptRows) -> tuple[Tensor, list[range]]:
    """What the layers' key and value projections see of some rows without a prompt.

    Args:
        lm: the frozen LM.
        rows: without separators.

    Returns:
        Layer-normed states, float32 [layers, N, D] on the CPU, and the places of each row's units among the N.
    """
    device = lm.embed.weight.device
    tokens = np.concatenate([np.append(lm.config.start, row) for row in rows.tokens])
    lengths = np.array([1 + len(row) for row in rows.tokens])
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:  # noqa: ARG001
        seen.append(output.detach().float().cpu())

    with ExitStack() as hooks, torch.no_grad():
        for layer in lm.layers:
            hooks.callback(layer.get_submodule("attention_norm").register_forward_hook(keep).remove)
        x = lm.embed_tokens(torch.from_numpy(tokens).to(device))
        if isinstance(lm, MultistreamLM):
            x = x + lm.prosody_terms(prosody_inputs([rows], lm.config, device=device))
        lm(x, Packing.of(lengths, device))
    ends = np.cumsum(lengths).tolist()
    return torch.stack(seen), [range(end - len(row), end) for end, row in zip(ends, rows.tokens, strict=True)]


def begin_with_units(
    flat: Tensor, shape: PromptShape, lm: UnitLM, rows: PromptRows, generator: torch.Generator
) -> None:
    """Let each prompt vector be what the layers see of one real unit, the same unit in all layers, so that prompt keys
    and values are those of tokens; the unit is drawn from a row of its own."""
    states, places = attention_inputs(lm, rows)
    chosen = [place[int(torch.randint(len(place), (1,), generator=generator))] for place in places]
    tensors = shape.views(flat)
    for name in (KEYS, VALUES):
        tensors[name].copy_(states[:, chosen])


def begin_with_bundle(flat: Tensor, shape: PromptShape, labels: tuple[tuple[str, ...], ...], bundle: Bundle) -> None:
    """Take over the prompt of a bundle.

    Its separators go slot by slot, the last one to any further slot; a trained verbalizer goes to a slot with the very
    labels it was trained for.

    Args:
        flat: the prompt, float32 [size], which keeps what the bundle does not give.
        shape: of the prompt.
        labels: of each slot.
        bundle: of the same unit LM.

    Raises:
        BundleError: its prompt has another length.
    """
    manifest, tensors = bundle.manifest, shape.views(flat)
    if manifest.prompt.length != shape.length:
        raise BundleError(
            f"the bundle of {manifest.task.name} has a prompt of length {manifest.prompt.length}, not {shape.length}; "
            f"set recipe.prompt_length to {manifest.prompt.length}"
        )

    def given(name: str) -> Tensor:
        return torch.from_numpy(np.array(bundle.tensors[name]))

    tensors[KEYS].copy_(given("prompt.keys"))
    tensors[VALUES].copy_(given("prompt.values"))
    separators = given("separators")
    tensors[SEPARATORS].copy_(separators[torch.arange(len(labels)).clamp(max=len(separators) - 1)])
    if not shape.linear or manifest.prompt.verbalizer != "linear":
        return
    for slot, (ours, theirs) in enumerate(zip(labels, manifest.slots, strict=False)):
        matrix = given(f"verbalizer.{slot}")
        target = tensors[verbalizer_name(slot)]
        if ours == theirs.labels and matrix.shape == target.shape:
            target.copy_(matrix)
