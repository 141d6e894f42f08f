"""A bundle's prompts on a device, ready for passes of the LM that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

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
class Member:
    """One prompt.

    Attributes:
        tensors: projected by the LM.
        mappings: what its verbalizer makes of each slot.
    """

    tensors: PromptTensors
    mappings: list[SlotMapping]

    @classmethod
    def of(cls, manifest: BundleManifest, tensors: Mapping[str, Tensor], lm: UnitLM) -> Self:
        """A prompt from its tensors by name, on the LM's device."""
        sizes, units = manifest.prompt, manifest.prompt.verbalizer_units
        prompt = PromptTensors.of(tensors, READINGS[sizes.reading or "separator"], scores=sizes.vocabulary)
        mappings = [
            SlotMapping(
                tensors.get(verbalizer_name(slot)),
                None if units is None else torch.tensor(units[slot], device=lm.device),
                sizes.special_rows,
            )
            for slot in range(len(manifest.slots))
        ]
        return cls(prompt.project(lm), mappings)


@dataclass(frozen=True)
class LoadedPrompt:
    """Attributes:
    manifest: of its bundle.
    inference: what becomes of recordings.
    members: its prompts, projected by the LM: one, or those of an ensemble.
    """

    manifest: BundleManifest
    inference: Inference
    members: list[Member]

    @classmethod
    def load(cls, bundle: Bundle, lm: UnitLM, *, precision: Precision, device: torch.device) -> LoadedPrompt:
        """The prompts of a bundle.

        Raises:
            BundleError: its tensors are not those that it announces, or its settings mean nothing.
        """
        inference = require_usable(bundle.manifest, bundle.tensors)
        tensors = {name: torch.from_numpy(array).to(device) for name, array in bundle.tensors.items()}
        parts = [tensors]
        if (seeds := bundle.manifest.prompt.members) is not None:
            parts = [{name: tensor[place] for name, tensor in tensors.items()} for place in range(len(seeds))]
        with torch.no_grad(), autocast(precision, device):
            members = [Member.of(bundle.manifest, part, lm) for part in parts]
        return cls(bundle.manifest, inference, members)

    def parts(self, positions: Sequence[Tensor | None], rows: int) -> list[NDArray[np.float32]]:
        """What each position adds to the class scores of each slot, mean over the members, float32 [rows, T, classes];
        no positions where they read the separators alone.

        Args:
            positions: of each member what each position adds to the features of its reading, [rows, S or 1, T, D].
            rows: how many there are.
        """
        found = []
        for slot, labels in enumerate(self.manifest.slots):
            members = [
                part[:, min(slot, part.shape[1] - 1)] @ matrix[:, -part.shape[-1] :].T
                for part, member in zip(positions, self.members, strict=True)
                if part is not None and (matrix := member.mappings[slot].matrix) is not None
            ]
            mean = torch.stack(members).mean(dim=0).float() if members else torch.zeros(rows, 0, len(labels.labels))
            found.append(mean.cpu().numpy())
        return found

    def scores(self, inputs: Sequence[Tensor]) -> list[NDArray[np.float32]]:
        """Class scores of each slot, float32 [rows, members, classes].

        Args:
            inputs: those of the verbalizer of each member, [rows, slots, V].
        """
        verbalizer = VERBALIZERS[self.manifest.prompt.verbalizer]
        slots = range(len(self.manifest.slots))
        return [
            torch.stack(
                [
                    verbalizer.scores(read[:, slot], member.mappings[slot]).float()
                    for member, read in zip(self.members, inputs, strict=True)
                ],
                dim=1,
            )
            .cpu()
            .numpy()
            for slot in slots
        ]
