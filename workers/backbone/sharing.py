"""One physical copy of the frozen LM for all workers of a machine.

The driver puts the weights into Ray's object store as numpy arrays. A worker builds the module on the meta device
and binds those arrays: no bytes are copied in host memory, and a GPU gets one copy per process. Ray maps the arrays
read-only for numpy, yet an in-place torch operation would write into every worker's weights, so they are verified
by fingerprint when attached and again before anything tuned with them is published.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from infra.errors import FrozenWeightsChanged
from workers.backbone.directory import Backbone, lm_fingerprint
from workers.unit_lm.kinds import build_lm
from workers.unit_lm.unit_lm import UnitLM, UnitLMConfig


@dataclass(frozen=True)
class SharedLM:
    """What travels through the object store: the weights, and what they must be.

    Attributes:
        config: sizes and special ids.
        unit_tokens: token id of each unit.
        tensors: weights by name, float32; views of the object store once received.
        fingerprint: SHA-256 of all of it.
    """

    config: UnitLMConfig
    unit_tokens: tuple[int, ...]
    tensors: Mapping[str, NDArray[np.float32]]
    fingerprint: str

    @classmethod
    def of(cls, backbone: Backbone) -> SharedLM:
        return cls(backbone.config, backbone.unit_tokens, dict(backbone.lm_tensors), backbone.lm_fingerprint)

    @property
    def size(self) -> int:
        """Of the weights, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def attach(self, device: torch.device | str = "cpu") -> UnitLM:
        """The frozen module over these very arrays (on a CPU), or over one copy of them on another device."""
        with torch.device("meta"):
            lm = build_lm(self.config)
        with warnings.catch_warnings():
            # Read-only memory is what is wanted here; nothing in this process writes to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            tensors = {name: torch.from_numpy(array) for name, array in self.tensors.items()}
        lm.load_state_dict({name: tensor.to(device) for name, tensor in tensors.items()}, assign=True)
        return lm.requires_grad_(False).eval()

    def verify(self) -> None:
        """Compare the weights in memory with their fingerprint.

        Raises:
            FrozenWeightsChanged: they differ.
        """
        found = lm_fingerprint(self.config, self.unit_tokens, self.tensors)
        if found != self.fingerprint:
            raise FrozenWeightsChanged(
                f"the shared unit LM has fingerprint {found[:12]} instead of {self.fingerprint[:12]}: something wrote "
                "into the frozen weights on this machine; restart the job, nothing tuned with them is published"
            )
