"""A bundle's prompt on a device, ready for passes of the LM that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.bundle.format import Bundle, require_usable
from workers.bundle.manifest import BundleManifest, Inference
from workers.precision import Precision, autocast
from workers.prompting.prompt import verbalizer_name
from workers.prompting.prompted_pass import PromptTensors
from workers.prompting.readings.kinds import READINGS
from workers.prompting.verbalizers.kinds import VERBALIZERS
from workers.prompting.verbalizers.verbalizer import SlotMapping
from workers.unit_lm.unit_lm import UnitLM


@dataclass(frozen=True)
class LoadedPrompt:
    """Attributes:
    manifest: of its bundle.
    inference: what becomes of recordings.
    tensors: projected by the LM.
    matrices: verbalizer of each slot, where it is trained.
    tokens: vocabulary entry of each class of each slot, where it is fixed.
    """

    manifest: BundleManifest
    inference: Inference
    tensors: PromptTensors
    matrices: list[Tensor | None]
    tokens: list[Tensor | None]

    @classmethod
    def load(cls, bundle: Bundle, lm: UnitLM, *, precision: Precision, device: torch.device) -> LoadedPrompt:
        """The prompt of a bundle.

        Raises:
            BundleError: its tensors are not those that it announces, or its settings mean nothing.
        """
        inference = require_usable(bundle.manifest, bundle.tensors)
        tensors = {name: torch.from_numpy(array).to(device) for name, array in bundle.tensors.items()}
        sizes = bundle.manifest.prompt
        prompt = PromptTensors.of(tensors, READINGS[sizes.reading or "separator"], scores=sizes.vocabulary)
        with torch.no_grad(), autocast(precision, device):
            prompt = prompt.project(lm)
        slots = range(len(bundle.manifest.slots))
        units = bundle.manifest.prompt.verbalizer_units
        return cls(
            manifest=bundle.manifest,
            inference=inference,
            tensors=prompt,
            matrices=[tensors.get(verbalizer_name(slot)) for slot in slots],
            tokens=[None if units is None else torch.tensor(units[slot], device=device) for slot in slots],
        )

    def scores(self, slot: int, inputs: Tensor) -> NDArray[np.float32]:
        """Class scores of a slot, float32 [rows, classes], from the inputs of its verbalizer, [rows, V]."""
        prompt = self.manifest.prompt
        mapping = SlotMapping(self.matrices[slot], self.tokens[slot], prompt.special_rows)
        scores = VERBALIZERS[prompt.verbalizer].scores(inputs, mapping)
        found: NDArray[np.float32] = scores.float().cpu().numpy()
        return found
