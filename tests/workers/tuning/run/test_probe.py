"""Which width a measurement leads to; how fast this machine is is nobody's business."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

import workers.tuning.run.probe as probe
from tests.fixtures.tuning import make_lane, tiny_lm
from workers.tuning.run.probe import Measured, best_width, measure_gangs
from workers.tuning.step.gang import Gang
from workers.tuning.step.lane import Lane

LM = tiny_lm()


def measured(*rates: float) -> list[Measured]:
    return [Measured(2**power, 2**power / rate, 0) for power, rate in enumerate(rates)]


@pytest.mark.parametrize(
    ("rates", "width"),
    [((), 1), ((10,), 1), ((10, 10.9), 1), ((10, 11.1), 2), ((10, 20, 39, 40), 4), ((10, 9, 100), 1)],
)
def test_width_grows_as_long_as_it_pays(rates: Sequence[float], width: int) -> None:
    assert best_width(measured(*rates)) == width


def lanes(count: int) -> list[Lane]:
    return [make_lane(LM, seed=seed, steps=50) for seed in range(count)]


def sizes(
    monkeypatch: pytest.MonkeyPatch, *, most: int = 64, rate: float = 2.0, memory: int = 0, budget: float = 1e9
) -> list[int]:
    """Sizes that are looked at, where each doubling of lanes takes ``rate`` times as many lane steps a second."""

    def timed(gang: Gang, deadline: float) -> Measured:  # noqa: ARG001
        count = len(gang.lanes)
        return Measured(count, count / rate ** (count.bit_length() - 1), count * memory)

    monkeypatch.setattr(probe, "_measure", timed)
    monkeypatch.setattr(probe, "_memory_at_hand", lambda device: 1000)  # noqa: ARG005
    found = measure_gangs(LM, lanes, most=most, share=0.5, precision="fp32", budget=budget)
    return [one.lanes for one in found]


def test_sizes_double_up_to_the_most_that_is_useful(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes(monkeypatch, most=1) == [1]
    assert sizes(monkeypatch, most=6) == [1, 2, 4, 6]
    assert sizes(monkeypatch, most=8) == [1, 2, 4, 8]


def test_measuring_ends_when_it_no_longer_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes(monkeypatch, rate=1.05) == [1, 2]


def test_measuring_ends_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """400 of the 1000 bytes are this process's to use: a share of 0.5, less a fifth."""
    assert sizes(monkeypatch, memory=60) == [1, 2, 4]


def test_measuring_ends_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes(monkeypatch, budget=0.0) == [1]


def test_measuring_ends_where_the_device_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(gang: Gang, deadline: float) -> Measured:  # noqa: ARG001
        if len(gang.lanes) > 2:
            raise torch.OutOfMemoryError
        return Measured(len(gang.lanes), 1.0, 0)

    monkeypatch.setattr(probe, "_measure", timed)
    found = measure_gangs(LM, lanes, most=8, share=1.0, precision="fp32", budget=1e9)
    assert [one.lanes for one in found] == [1, 2]


def test_real_steps_are_timed() -> None:
    made: list[Lane] = []

    def remembered(count: int) -> list[Lane]:
        made.extend(lanes(count))
        return made[-count:]

    found = measure_gangs(LM, remembered, most=2, share=1.0, precision="fp32")
    assert [one.lanes for one in found] == [1, 2]
    assert all(one.seconds > 0 and one.memory >= 0 for one in found)
    assert all(lane.progress.step >= 2 for lane in made)
