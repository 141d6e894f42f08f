"""Adam for many prompts at once: each row of a state tensor is one lane, with its own learning rate and clock."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


class LaneAdam:
    """Adam (Kingma and Ba, 2015) over lanes as the rows of one matrix.

    A row is updated from its own gradient, gradient norm, learning rate and step count alone, so a lane never feels its
    neighbours, whatever they do.

    Args:
        values: trained numbers, float32 [lanes, size]; rows shorter than ``size`` end in zeros that never change.
        scales: factor on the learning rate of each number, float32 [lanes, size]; zero where a row has no number.
        betas: decay of the first and second moment of each lane, float32 [lanes, 2].
        clip_norms: largest gradient norm of each lane, float32 [lanes].
    """

    EPSILON = 1e-8
    _ROWS = ("values", "_scales", "_betas", "_clip_norms", "exp_avg", "exp_avg_sq", "steps")

    def __init__(self, values: Tensor, *, scales: Tensor, betas: Tensor, clip_norms: Tensor) -> None:
        self.values = values
        self._scales, self._betas, self._clip_norms = scales, betas, clip_norms
        self.exp_avg = torch.zeros_like(values)
        self.exp_avg_sq = torch.zeros_like(values)
        self.steps = torch.zeros(len(values), device=values.device)

    @property
    def size(self) -> int:
        """Numbers of a row."""
        return self.values.shape[1]

    def resize(self, size: int) -> None:
        """Make every row ``size`` numbers long; what is cut off must be its filling."""
        for name in ("values", "_scales", "exp_avg", "exp_avg_sq"):
            rows = getattr(self, name)
            setattr(self, name, F.pad(rows, (0, size - rows.shape[1])))

    def extend(self, other: LaneAdam) -> None:
        """Take in the lanes of another, of the same size, behind one's own."""
        for name in self._ROWS:
            setattr(self, name, torch.cat([getattr(self, name), getattr(other, name)]))

    def remove(self, lane: int) -> None:
        """Forget a lane; those behind it move up."""
        for name in self._ROWS:
            rows = getattr(self, name)
            setattr(self, name, torch.cat([rows[:lane], rows[lane + 1 :]]))

    def reset(self, lane: int, values: Tensor) -> None:
        """Let a lane begin again from these values, float32 [size]."""
        self.values[lane] = values.to(self.values.device)
        for name in ("exp_avg", "exp_avg_sq", "steps"):
            getattr(self, name)[lane] = 0

    @torch.no_grad()
    def step(self, lanes: Tensor, gradients: Tensor, learning_rates: Tensor) -> None:
        """Update k of the lanes.

        Args:
            lanes: their rows, int64 [k].
            gradients: float32 [k, size].
            learning_rates: of each, float32 [k].
        """
        norms = gradients.norm(dim=1)
        gradients = gradients * (self._clip_norms[lanes] / norms.clamp(min=1e-12)).clamp(max=1.0)[:, None]
        beta1, beta2 = self._betas[lanes, :1], self._betas[lanes, 1:]
        steps = self.steps[lanes] + 1
        exp_avg = beta1 * self.exp_avg[lanes] + (1 - beta1) * gradients
        exp_avg_sq = beta2 * self.exp_avg_sq[lanes] + (1 - beta2) * gradients.square()
        unbiased = exp_avg / (1 - beta1 ** steps[:, None])
        deviation = (exp_avg_sq / (1 - beta2 ** steps[:, None])).sqrt() + self.EPSILON
        self.values[lanes] -= learning_rates[:, None] * self._scales[lanes] * unbiased / deviation
        self.exp_avg[lanes], self.exp_avg_sq[lanes], self.steps[lanes] = exp_avg, exp_avg_sq, steps
