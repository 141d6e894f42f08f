from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from workers.precision import autocast
from workers.unit_lm.engine import frozen_linear
from workers.unit_lm.engine.frozen_linear import Projection, feed_forward, linear

D, H, N = 24, 40, 9


def _projection(inputs: int, outputs: int, seed: int) -> Projection:
    generator = torch.Generator().manual_seed(seed)
    projection = Projection(inputs, outputs)
    with torch.no_grad():
        projection.weight.copy_(torch.randn(outputs, inputs, generator=generator) * inputs**-0.5)
        projection.bias.copy_(torch.randn(outputs, generator=generator))
    return projection.requires_grad_(False)


def _tokens() -> Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(9)).requires_grad_()


def _gradient(outputs: tuple[Tensor, ...], x: Tensor) -> Tensor:
    weighted = [(output * torch.arange(output.shape[1])).sum() for output in outputs]
    [gradient] = torch.autograd.grad(torch.stack(weighted).sum(), x)
    return gradient


@pytest.fixture(params=[True, False], ids=["onednn", "torch"])
def _products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(frozen_linear, "_onednn", lambda _: False)


@pytest.mark.usefixtures("_products")
def test_several_maps_equal_linear_layers() -> None:
    x, maps = _tokens(), [_projection(D, H, 0), _projection(D, D, 1)]
    found, wanted = linear(x, maps), tuple(F.linear(x, each.weight, each.bias) for each in maps)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(_gradient(found, x), _gradient(wanted, x))


@pytest.mark.usefixtures("_products")
def test_feed_forward_equals_its_layers() -> None:
    x, fc1, fc2 = _tokens(), _projection(D, H, 2), _projection(H, D, 3)
    found = feed_forward(x, fc1, fc2)
    wanted = F.linear(F.relu(F.linear(x, fc1.weight, fc1.bias)), fc2.weight, fc2.bias)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(_gradient((found,), x), _gradient((wanted,), x))


def test_gradients_of_the_wanted_tokens_only() -> None:
    x, maps = _tokens(), [_projection(D, H, 0), _projection(D, D, 1)]
    every = _gradient(linear(x, maps), x)
    some = _gradient(linear(x, maps, wanted=torch.tensor([6, 2])), x)
    torch.testing.assert_close(some[[2, 6]], every[[2, 6]])
    assert not some[[0, 1, 3, 4, 5, 7, 8]].any()


def test_a_trained_map_gets_its_gradients() -> None:
    fc1, fc2 = (_projection(D, D, seed).requires_grad_() for seed in (4, 5))
    (feed_forward(_tokens(), fc1, fc2).sum() + linear(_tokens(), [fc1])[0].sum()).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.any() for p in (fc1.weight, fc2.weight))


def test_weights_are_converted_once() -> None:
    x, projection = _tokens(), _projection(D, H, 6)
    with autocast("bf16", x.device):
        [found] = linear(x, [projection])
    assert found.dtype == torch.bfloat16
    first, again = (projection.weights_as(torch.bfloat16)[0] for _ in range(2))
    assert first is again
    assert projection.weights_as(torch.float32)[0] is projection.weight
    projection.weight = nn.Parameter(2 * projection.weight, requires_grad=False)
    torch.testing.assert_close(projection.weights_as(torch.bfloat16)[0], 2 * first)
    assert set(projection.state_dict()) == {"weight", "bias"}
