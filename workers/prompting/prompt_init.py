"""Where a prompt begins."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from infra.errors import BundleError
from task_specs.recipe import Recipe
from workers.bundle.format import Bundle
from workers.prompting.prompt import PromptShape, verbalizer_name
from workers.prompting.prompted_pass import KEYS, SEPARATORS, VALUES, PromptRows
from workers.prompting.readings.kinds import READINGS
from workers.prompting.verbalizers.kinds import VERBALIZERS
from workers.unit_lm.engine.packing import starts_of
from workers.unit_lm.engine.rows import Rows
from workers.unit_lm.unit_lm import UnitLM


def initial_prompt(shape: PromptShape, recipe: Recipe, lm: UnitLM, generator: torch.Generator) -> Tensor:
    """A fresh prompt, float32 [shape.size], drawn from ``generator`` alone.

    Prompt vectors replace layer-normed states, so N(0, 1) has their scale. Separators are multiplied by the embedding
    scale like tokens; the reference draws them N(0, 1) all the same, 32 times too large at dim 1024, while the row
    of ``</s>`` (``separator_init: eos``) begins at a place the LM knows as the end of an utterance.
    """
    flat = torch.randn(shape.size, generator=generator)
    tensors = shape.views(flat)
    if recipe.separator_init == "eos":
        tensors[SEPARATORS].copy_(lm.token_vector(lm.config.eos).float().cpu())
    reading = READINGS[shape.reading]
    own = reading.shapes(layers=shape.layers, dim=shape.dim, slots=len(shape.classes))
    reading.initialise({name: tensors[name] for name in own}, generator)
    for slot in range(len(shape.classes)):
        if (trained := tensors.get(verbalizer_name(slot))) is not None:
            VERBALIZERS[shape.verbalizer].initialise(trained, recipe, generator)
    return flat


def begin_with_units(
    flat: Tensor, shape: PromptShape, lm: UnitLM, rows: PromptRows, generator: torch.Generator
) -> None:
    """Let each prompt vector be what the layers see of one real unit, the same unit in all layers, so that prompt keys
    and values are those of tokens; the unit is drawn from a row of its own."""
    bare = Rows.of_units(rows.tokens, rows.prosody, start=lm.config.start, device=lm.device)
    states = lm.attention_inputs(bare)
    # The start token, which is first in each row, is not drawn.
    firsts = (starts_of(bare.packing.lengths) + 1).tolist()
    chosen = [
        first + int(torch.randint(len(row), (1,), generator=generator))
        for first, row in zip(firsts, rows.tokens, strict=True)
    ]
    tensors = shape.views(flat)
    for name in (KEYS, VALUES):
        tensors[name].copy_(states[:, chosen])


def begin_with_bundle(flat: Tensor, shape: PromptShape, labels: tuple[tuple[str, ...], ...], bundle: Bundle) -> None:
    """Take over the prompt of a bundle.

    Its separators go slot by slot, the last one to any further slot; its reading goes to one of the same kind, for as
    many slots; a trained verbalizer goes to a slot with the very labels it was trained for.

    Args:
        flat: the prompt, float32 [size], which keeps what the bundle does not give.
        shape: of the prompt.
        labels: of each slot.
        bundle: of the same unit LM.

    Raises:
        BundleError: its prompt has another length, or it holds several.
    """
    manifest, tensors = bundle.manifest, shape.views(flat)
    if manifest.prompt.members is not None:
        raise BundleError(
            f"the bundle of {manifest.task.name} is an ensemble of several prompts; name a bundle of one prompt"
        )
    if manifest.prompt.length != shape.length:
        raise BundleError(
            f"the bundle of {manifest.task.name} has a prompt of length {manifest.prompt.length}, not {shape.length}; "
            f"set recipe.prompt_length to {manifest.prompt.length}"
        )

    def given(name: str) -> Tensor:
        return torch.from_numpy(np.array(bundle.tensors[name]))

    tensors[KEYS].copy_(given(KEYS))
    tensors[VALUES].copy_(given(VALUES))
    separators = given(SEPARATORS)
    tensors[SEPARATORS].copy_(separators[torch.arange(len(labels)).clamp(max=len(separators) - 1)])
    if manifest.prompt.reading == shape.reading:
        for name in READINGS[shape.reading].shapes(layers=shape.layers, dim=shape.dim, slots=len(labels)):
            if bundle.tensors[name].shape == tensors[name].shape:
                tensors[name].copy_(given(name))
    if manifest.prompt.verbalizer != shape.verbalizer:
        return
    for slot, (ours, theirs) in enumerate(zip(labels, manifest.slots, strict=False)):
        target = tensors.get(verbalizer_name(slot))
        if target is None or ours != theirs.labels:
            continue
        trained = given(verbalizer_name(slot))
        if trained.shape == target.shape:
            target.copy_(trained)
