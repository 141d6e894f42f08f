"""Lanes that join, leave and come back: whoever is in the pass beside them, they go as they go alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.fixtures.tuning import make_lane, tiny_lm
from workers.tuning.step.gang import Evaluation, Gang
from workers.tuning.step.lane import Lane
from workers.tuning.step.lane_state import LaneState, load_states, save_states

LM = tiny_lm()

LANES: dict[str, Callable[[], Lane]] = {
    "plain": lambda: make_lane(LM),
    "long prompt": lambda: make_lane(LM, seed=1, prompt_length=7, learning_rate=0.02),
    "two slots": lambda: make_lane(LM, (4, 2), seed=2, batch_size=7, adam_beta2=0.9),
    "dropout": lambda: make_lane(LM, seed=6, dropout=0.3, evaluate_every=2),
    "paper": lambda: make_lane(LM, (3,), seed=4, name="paper", batch_size=5),
    "fixed": lambda: make_lane(LM, (5,), seed=3, verbalizer="frequency", prompt_length=2),
    "diverges": lambda: make_lane(LM, seed=9, learning_rate=3e38, prompt_length=6, warmup_steps=0),
    "short": lambda: make_lane(LM, seed=7, steps=4, evaluate_every=1),
}


@dataclass
class Course:
    """What became of a lane."""

    evaluations: list[Evaluation] = field(default_factory=list)
    final: LaneState | None = None

    @property
    def curve(self) -> list[tuple[int, float]]:
        return [point for evaluation in self.evaluations for point in evaluation.losses]


@cache
def alone(name: str) -> Course:
    course, gang = Course(), Gang(LM, [LANES[name]()], precision="fp32")
    while evaluations := gang.run_to_evaluation():
        course.evaluations += evaluations.values()
    course.final = gang.leave(gang.lanes[0])
    return course


def assert_same(found: Course, wanted: Course, name: str) -> None:
    assert found.final is not None
    assert wanted.final is not None
    assert [one.step for one in found.evaluations] == [one.step for one in wanted.evaluations], name
    np.testing.assert_allclose(found.curve, wanted.curve, rtol=1e-5, atol=1e-5, err_msg=name)
    assert found.final.progress.stopped == wanted.final.progress.stopped, name
    if wanted.final.progress.stopped == "diverged":
        return
    for part in ("values", "best"):
        torch.testing.assert_close(getattr(found.final, part), getattr(wanted.final, part), rtol=1e-5, atol=1e-5)


class Decisions:
    """Small numbers from hypothesis; zeros when they have run out."""

    def __init__(self, numbers: list[int]) -> None:
        self._numbers: Iterator[int] = iter(numbers)

    def below(self, bound: int) -> int:
        return next(self._numbers, 0) % bound


def through_a_file(states: dict[str, LaneState]) -> dict[str, LaneState]:
    with TemporaryDirectory() as directory:
        save_states(Path(directory), states)
        return load_states(Path(directory))


@settings(max_examples=6, deadline=None)
@given(st.permutations(sorted(LANES)), st.integers(1, 4), st.lists(st.integers(0, 11), max_size=40))
def test_any_schedule_gives_what_each_lane_gives_alone(order: list[str], width: int, numbers: list[int]) -> None:
    """At each evaluation a lane may be sent out, to come back later through a file; free rows are filled."""
    decisions = Decisions(numbers)
    waiting: list[str] = list(order)
    out: dict[str, LaneState] = {}
    courses = {name: Course() for name in order}
    gang, seated = Gang(LM, [], precision="fp32"), list[str]()
    while waiting or seated:
        while waiting and len(seated) < width:
            name = waiting.pop(decisions.below(len(waiting)))
            lane = LANES[name]()
            gang.join(lane, out.pop(name) if name in out else lane.initial_state())
            seated.append(name)
        for running, evaluation in gang.run_to_evaluation().items():
            courses[seated[gang.lanes.index(running)]].evaluations.append(evaluation)
        for index in reversed(range(len(seated))):
            if not gang.lanes[index].active:
                courses[seated.pop(index)].final = gang.leave(gang.lanes[index])
            elif decisions.below(6) == 1:
                name = seated.pop(index)
                out |= through_a_file({name: gang.leave(gang.lanes[index])})
                waiting.append(name)
    for name, course in courses.items():
        assert_same(course, alone(name), name)


def test_the_diverging_lane_of_these_schedules_does_diverge() -> None:
    final = alone("diverges").final
    assert final is not None
    assert final.progress.stopped == "diverged"
    assert not final.values.isfinite().all()


def test_rows_are_as_wide_as_the_largest_lane_at_hand() -> None:
    gang = Gang(LM, [LANES["plain"](), LANES["long prompt"](), LANES["fixed"]()])
    sizes = [running.lane.shape.size for running in gang.lanes]

    def shapes() -> set[tuple[int, ...]]:
        adam: list[Tensor] = [gang.adam.values, gang.adam.exp_avg, gang.adam.exp_avg_sq, gang.best]
        return {tuple(tensor.shape) for tensor in adam}

    assert shapes() == {(3, max(sizes))}
    gang.advance()
    before = gang.state(gang.lanes[2])
    gang.leave(gang.lanes[1])
    assert shapes() == {(2, sizes[0])}
    assert torch.equal(gang.state(gang.lanes[1]).values, before.values)
    gang.leave(gang.lanes[0])
    gang.leave(gang.lanes[0])
    assert shapes() == {(0, 0)}
    assert not gang.run_to_evaluation()


def test_a_state_is_a_copy() -> None:
    gang = Gang(LM, [LANES["dropout"]()])
    gang.advance()
    state = gang.state(gang.lanes[0])
    kept = (state.values.clone(), state.generator.clone(), state.progress.step, len(state.losses))
    gang.advance()
    assert torch.equal(state.values, kept[0])
    assert torch.equal(state.generator, kept[1])
    assert (state.progress.step, len(state.losses)) == kept[2:] == (1, 1)
    other = Gang(LM, [])
    other.join(LANES["dropout"](), state)
    other.advance()
    assert torch.equal(state.values, kept[0]), "a gang does not write into the state it began with"
