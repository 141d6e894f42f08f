"""Sees to it that nothing comes of weights that were written to while prompts were tuned on them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infra.errors import FrozenWeightsChanged
from workers.backbone.sharing import SharedLM
from workers.tuning.step.process_group import Ranks
from workers.unit_lm.unit_lm import UnitLM


class FrozenWatch:
    """Watches the weights that a process tunes with: those in the object store, or its own copy on another device.

    Args:
        shared: what they must be.
        lm: the module that computes with them.
        ranks: those that tune together; what one of them finds, all of them raise.

    Raises:
        FrozenWeightsChanged: they are others already.
    """

    def __init__(self, shared: SharedLM, lm: UnitLM, ranks: Ranks) -> None:
        self._shared, self._lm, self._ranks = shared, lm, ranks
        shared.verify()
        # Of what was verified, not of the module: it may have served another gang, and its copy been written to there.
        self._sums = _sums(shared.tensors.values())
        self.glance()

    def glance(self) -> None:
        """Compare sums over the weights, at the speed of memory: before the state of lanes is kept.

        A checkpoint that was tuned on other weights would carry them into every later submission.

        Raises:
            FrozenWeightsChanged: the weights of one of the ranks are others than they were.
        """
        self._agree(not torch.equal(self._sum(), self._sums))

    def verify(self) -> None:
        """Compare the weights with their fingerprint: before an outcome leaves this process.

        Raises:
            FrozenWeightsChanged: those of one of the ranks differ.
        """
        try:
            self._shared.verify()
        except FrozenWeightsChanged:
            self._agree(True)
            raise
        self.glance()

    def _agree(self, changed: bool) -> None:
        found = torch.tensor([changed], dtype=torch.int64, device=self._lm.device)
        if self._ranks.add(found).item():
            raise FrozenWeightsChanged(
                f"the frozen unit LM of fingerprint {self._shared.fingerprint[:12]} was written to while prompts were "
                "tuned on it; restart the job, nothing tuned with it since its last checkpoint is kept"
            )

    def _sum(self) -> Tensor:
        """Of each tensor, its bits added up as whole numbers, int64 [tensors]; any single write changes it."""
        state = self._lm.state_dict()
        tensors = [state[name].detach() for name in self._shared.tensors]
        if tensors[0].device.type == "cpu":
            # On one core numpy adds 151 M of them in 80 ms, torch in 1,200.
            return _sums(tensor.numpy() for tensor in tensors)
        return torch.stack([tensor.view(torch.int32).sum(dtype=torch.int64) for tensor in tensors]).cpu()


def _sums(arrays: Iterable[NDArray[np.float32]]) -> Tensor:
    return torch.tensor([array.reshape(-1).view(np.int32).sum(dtype=np.int64) for array in arrays])
