"""Which width a measurement leads to; how fast this machine is is nobody's business."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import workers.tuning.run.probe as probe
from tests.fixtures.memory import Memory
from tests.fixtures.tuning import make_lane, tiny_lm
from workers.tuning.run.probe import Measured, best_width, measure_gangs
from workers.tuning.step.gang import Gang
from workers.tuning.step.lane import Lane
from workers.tuning.step.running_lane import RunningLane

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
    """Also where tuning would go on, with fewer lanes a pass than were to be timed."""
    Memory(monkeypatch, lanes=2)
    found = measure_gangs(LM, lanes, most=8, share=1.0, precision="fp32", budget=1e9)
    assert [one.lanes for one in found] == [1, 2]


def test_real_steps_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    step = Gang.step

    def counted(gang: Gang, together: Sequence[RunningLane]) -> None:
        step(gang, together)
        taken.append(len(together))

    monkeypatch.setattr(Gang, "step", counted)
    found = measure_gangs(LM, lanes, most=2, share=1.0, precision="fp32")
    assert [one.lanes for one in found] == [1, 2]
    assert all(one.seconds > 0 and one.memory >= 0 for one in found)
    assert taken.count(1) >= 2
    assert taken.count(2) >= 2


def test_a_container_has_no_more_memory_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "CGROUPS", tmp_path)
    cpu = torch.device("cpu")
    machine = probe._memory_at_hand(cpu)
    assert machine > 10_000
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("8000\n")
    (tmp_path / "memory" / "memory.stat").write_text("cache 5000\ntotal_rss 1000\n")
    assert probe._memory_at_hand(cpu) == 7000
    (tmp_path / "memory.max").write_text("6000\n")
    (tmp_path / "memory.stat").write_text("anon 2000\nfile 1\n")
    assert probe._memory_at_hand(cpu) == 4000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory" / "memory.limit_in_bytes").unlink()
    assert probe._memory_at_hand(cpu) > 10_000
