from __future__ import annotations

import torch
from torch import Tensor

from workers.tuning.step.optimizer import LaneAdam

SIZES = [5, 3, 4]
RATES = [0.1, 0.01, 0.5]
BETAS = [[0.9, 0.99], [0.8, 0.98], [0.5, 0.9]]
CLIPS = [1.0, 1e9, 0.1]
STEPS = [[0, 1, 2], [0, 1, 2], [0, 2], [1], [0, 1, 2], [2]]
"""Which lanes step together."""


def _gradients() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 5, generator=generator) for _ in STEPS]


def _adam(scale: float = 1.0) -> LaneAdam:
    values, scales = torch.zeros(3, 5), torch.zeros(3, 5)
    for lane, size in enumerate(SIZES):
        values[lane, :size] = torch.arange(1.0, size + 1)
        scales[lane, :size] = scale
    return LaneAdam(values, scales=scales, betas=torch.tensor(BETAS), clip_norms=torch.tensor(CLIPS))


def _run(adam: LaneAdam, gradients: list[Tensor]) -> Tensor:
    for lanes, gradient in zip(STEPS, gradients, strict=True):
        masked = gradient.clone()
        for lane, size in enumerate(SIZES):
            masked[lane, size:] = 0
        adam.step(torch.tensor(lanes), masked[lanes], torch.tensor([RATES[lane] for lane in lanes]))
    return adam.values


def test_every_lane_is_an_adam_of_its_own() -> None:
    found = _run(_adam(), _gradients())
    for lane, size in enumerate(SIZES):
        alone = torch.nn.Parameter(torch.arange(1.0, size + 1))
        beta1, beta2 = BETAS[lane]
        optimizer = torch.optim.Adam([alone], lr=RATES[lane], betas=(beta1, beta2))
        for lanes, gradient in zip(STEPS, _gradients(), strict=True):
            if lane in lanes:
                alone.grad = gradient[lane, :size].clone()
                torch.nn.utils.clip_grad_norm_([alone], CLIPS[lane])
                optimizer.step()
        torch.testing.assert_close(found[lane, :size], alone.detach(), rtol=1e-5, atol=1e-6)
        assert not found[lane, size:].any()


def test_a_lane_that_diverges_leaves_the_others_bit_for_bit() -> None:
    quiet = _run(_adam(), _gradients())
    poisoned = _gradients()
    poisoned[1][1] = torch.nan
    poisoned[4][1] = torch.inf
    found = _run(_adam(), poisoned)
    assert found[1, :3].isnan().all()
    assert torch.equal(found[[0, 2]], quiet[[0, 2]])


def test_scales_multiply_the_rate() -> None:
    first = torch.tensor([0])
    gradient = torch.ones(1, 5)
    whole, half = _adam(), _adam(scale=0.5)
    start = whole.values[0].clone()
    for adam in (whole, half):
        adam.step(first, gradient, torch.tensor([0.1]))
    torch.testing.assert_close(start - whole.values[0], torch.full((5,), 0.1))
    torch.testing.assert_close(start - half.values[0], torch.full((5,), 0.05))


def test_a_gradient_of_zero_moves_nothing() -> None:
    adam = _adam()
    before = adam.values.clone()
    adam.step(torch.tensor([0, 2]), torch.zeros(2, 5), torch.tensor([1.0, 1.0]))
    assert torch.equal(adam.values, before)
    assert adam.steps.tolist() == [1, 0, 1]
