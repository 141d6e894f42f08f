from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.fixtures.memory import Memory
from tests.fixtures.tuning import make_lane, tiny_lm, toy_examples, uneven
from workers.evaluation.metrics import measure
from workers.tuning.step.gang import Evaluation, Gang
from workers.tuning.step.lane import Lane
from workers.tuning.step.lane_state import load_states, save_states

LM = tiny_lm()

MIXED: dict[str, Callable[[], Lane]] = {
    "plain": lambda: make_lane(LM),
    "long prompt": lambda: make_lane(LM, seed=1, prompt_length=7, learning_rate=0.02),
    "two slots": lambda: make_lane(LM, (4, 2), seed=2, batch_size=7, adam_beta2=0.9),
    "fixed": lambda: make_lane(LM, (5,), seed=3, verbalizer="frequency", prompt_length=2, metric="macro_f1"),
    "paper": lambda: make_lane(LM, (3,), seed=4, name="paper", batch_size=5),
    "paper, fixed": lambda: make_lane(LM, (2, 3), seed=5, name="paper", verbalizer="random"),
    "dropout": lambda: make_lane(LM, seed=6, dropout=0.3, label_smoothing=0.1),
    "sampling": lambda: make_lane(LM, seed=9, balance="sampling", examples=uneven((3,))),
    "weights": lambda: make_lane(LM, (3, 2), seed=10, balance="weights", examples=uneven((3, 2))),
    "mean": lambda: make_lane(LM, (4, 2), seed=11, read="mean", prompt_length=0),
    "pooled": lambda: make_lane(LM, (3, 2), seed=12, read="pooled", prompt_length=4),
    "noise": lambda: make_lane(LM, seed=14, unit_dropout=0.2, unit_replacement=0.1, read_dropout=0.3),
    "no prompt": lambda: make_lane(LM, seed=13, prompt_length=0),
    "short": lambda: make_lane(LM, seed=7, steps=4, evaluate_every=2),
    "impatient": lambda: make_lane(LM, seed=8, patience=1, evaluate_every=1, learning_rate=1e-9),
}
HOPELESS = 3e38
"""A learning rate at which every lane diverges."""


def _tune(gang: Gang) -> list[list[Evaluation]]:
    """Tune to the end; the evaluations of each lane."""
    seen: list[list[Evaluation]] = [[] for _ in gang.lanes]
    while evaluations := gang.run_to_evaluation():
        for lane, evaluation in evaluations.items():
            seen[gang.lanes.index(lane)].append(evaluation)
    return seen


def _curve(evaluations: Sequence[Evaluation]) -> list[tuple[int, float]]:
    return [point for evaluation in evaluations for point in evaluation.losses]


def _tensors(gang: Gang, index: int) -> Tensor:
    size = gang.lanes[index].lane.shape.size
    return torch.stack([gang.adam.values[index, :size], gang.best[index, :size]])


def _same(gang: Gang, index: int, seen: list[list[Evaluation]], name: str) -> None:
    """The lane at ``index`` went as it does alone."""
    alone = Gang(LM, [MIXED[name]()], precision="fp32")
    [wanted] = _tune(alone)
    found = seen[index]
    assert [one.step for one in found] == [one.step for one in wanted]
    assert [step for step, _ in _curve(found)] == list(range(1, wanted[-1].step + 1))
    np.testing.assert_allclose(_curve(found), _curve(wanted), rtol=1e-5, atol=1e-5, err_msg=name)
    for one, other in zip(found, wanted, strict=True):
        assert one.metrics == pytest.approx(other.metrics, abs=1e-5)
        assert (one.learning_rate, one.best) == (other.learning_rate, other.best)
    torch.testing.assert_close(_tensors(gang, index), _tensors(alone, 0), rtol=1e-5, atol=1e-5)
    assert gang.lanes[index].progress.stopped == alone.lanes[0].progress.stopped


def test_a_lane_goes_in_a_gang_as_it_goes_alone() -> None:
    gang = Gang(LM, [make() for make in MIXED.values()], precision="fp32")
    seen = _tune(gang)
    for index, name in enumerate(MIXED):
        _same(gang, index, seen, name)


def test_a_lane_does_not_feel_a_neighbour_that_diverges() -> None:
    names = ["plain", "two slots", "dropout"]
    bad = make_lane(LM, seed=9, learning_rate=HOPELESS, prompt_length=7, warmup_steps=0, evaluate_every=9)
    gang = Gang(LM, [MIXED["plain"](), bad, MIXED["two slots"](), MIXED["dropout"]()], precision="fp32")
    seen = _tune(gang)
    assert gang.lanes[1].progress.stopped == "diverged"
    assert not gang.adam.values[1].isfinite().all()
    assert any(not math.isfinite(loss) for _, loss in _curve(seen[1]))
    for index, name in zip((0, 2, 3), names, strict=True):
        _same(gang, index, seen, name)


def test_tuning_solves_the_toy_task() -> None:
    lane = make_lane(LM, examples=toy_examples(rows=60), steps=100, batch_size=10, learning_rate=0.03, dropout=0.1)
    gang = Gang(LM, [lane], precision="fp32")
    [evaluations] = _tune(gang)
    curve = _curve(evaluations)
    assert curve[0][1] == pytest.approx(math.log(3), abs=1e-5), "an untrained verbalizer knows nothing"
    assert np.mean([loss for _, loss in curve[-10:]]) < 0.6
    assert measure(gang.predict(lane, gang.best[0], lane.examples.splits["test"]))["accuracy"] > 0.7


def test_the_same_seed_gives_the_same_bytes() -> None:
    def tuned(seed: int) -> Gang:
        gang = Gang(LM, [make_lane(LM, seed=seed, dropout=0.2), MIXED["paper"]()], precision="fp32")
        _tune(gang)
        return gang

    first, again, other = tuned(1), tuned(1), tuned(2)
    assert torch.equal(first.adam.values, again.adam.values)
    assert torch.equal(first.best, again.best)
    assert not torch.equal(first.adam.values[0], other.adam.values[0])
    # Another neighbour means other grids in attention, and so other rounding.
    torch.testing.assert_close(first.adam.values[1], other.adam.values[1], rtol=1e-5, atol=1e-5)


def test_dropout_is_drawn_from_the_lane_and_not_while_evaluating() -> None:
    def losses(rate: float, noise: int = 0) -> list[tuple[int, float]]:
        torch.manual_seed(noise)
        [evaluations] = _tune(Gang(LM, [make_lane(LM, seed=3, dropout=rate, batch_size=24, steps=3)]))
        return _curve(evaluations)

    assert losses(0.3, noise=0) == losses(0.3, noise=1)
    assert losses(0.3)[1] != losses(0.0)[1]
    lane = make_lane(LM, dropout=0.5, verbalizer="frequency")
    gang = Gang(LM, [lane], precision="fp32")
    valid = lane.examples.splits["valid"]
    first, again = (gang.predict(lane, gang.adam.values[0], valid).scores[0] for _ in range(2))
    assert np.array_equal(first, again)


def test_dropout_keeps_the_mean_and_spares_the_rest() -> None:
    lane = make_lane(LM, dropout=0.2, prompt_length=40)
    gang = Gang(LM, [lane])
    dropped = gang._drop_prompt(gang.lanes[0], torch.ones(lane.shape.size + 3))
    prefix, rest = dropped[: lane.shape.prefix_size], dropped[lane.shape.prefix_size :]
    assert sorted(set(prefix.tolist())) == [0.0, 1.25]
    assert float(prefix.mean()) == pytest.approx(1, abs=0.05)
    assert bool((rest == 1).all())


def test_the_best_prompt_is_kept() -> None:
    """The last evaluations are worse: the rate is far too high after the first steps."""
    lane = make_lane(LM, select_on="loss", learning_rate=1.0, warmup_steps=0, schedule="constant", steps=20)
    gang = Gang(LM, [lane], precision="fp32")
    [evaluations] = _tune(gang)
    losses = {one.step: one.metrics["loss"] for one in evaluations}
    best = min(losses, key=lambda step: losses[step])
    assert best != evaluations[-1].step
    assert gang.lanes[0].progress.best_step == best
    valid = lane.examples.splits["valid"]
    assert gang.predict(lane, gang.best[0], valid).loss() == pytest.approx(losses[best])
    assert gang.predict(lane, gang.adam.values[0], valid).loss() == pytest.approx(losses[evaluations[-1].step])


def test_lanes_stop_one_by_one() -> None:
    gang = Gang(LM, [MIXED["impatient"](), MIXED["short"](), MIXED["plain"]()], precision="fp32")
    seen = _tune(gang)
    assert [lane.progress.stopped for lane in gang.lanes] == ["patience", "steps", "steps"]
    assert [[one.step for one in evaluations] for evaluations in seen][1:] == [[2, 4], [3, 6, 9]]
    impatient = seen[0]
    assert [one.best for one in impatient[-1:]] == [False]
    assert len(impatient) < 9
    assert gang.adam.steps.tolist() == [impatient[-1].step, 4, 9]
    assert not gang.active
    assert not gang.run_to_evaluation()


def test_an_evaluation_reports_the_rate_of_its_last_step() -> None:
    gang = Gang(LM, [make_lane(LM, learning_rate=0.1, warmup_steps=0, schedule="linear", steps=4, evaluate_every=2)])
    [evaluations] = _tune(gang)
    assert [one.learning_rate for one in evaluations] == pytest.approx([0.075, 0.025])


@pytest.mark.parametrize("pauses", [1, 2, 5])
def test_a_resumed_gang_goes_on_byte_for_byte(tmp_path: Path, pauses: int) -> None:
    def fresh() -> Gang:
        return Gang(LM, [make() for make in MIXED.values()], precision="fp32")

    straight, before = fresh(), fresh()
    wanted = _tune(straight)
    found: list[list[Evaluation]] = [[] for _ in MIXED]
    for _ in range(pauses):
        for lane, evaluation in before.run_to_evaluation().items():
            found[before.lanes.index(lane)].append(evaluation)
    save_states(tmp_path, {name: before.state(lane) for lane, name in zip(before.lanes, MIXED, strict=True)})
    del before
    states = load_states(tmp_path)
    resumed = Gang(LM, [], precision="fp32")
    for name, make in MIXED.items():
        resumed.join(make(), states[name])
    for index, evaluations in enumerate(_tune(resumed)):
        found[index] += evaluations
    for name in ("values", "exp_avg", "exp_avg_sq", "steps"):
        assert torch.equal(getattr(resumed.adam, name), getattr(straight.adam, name)), name
    assert torch.equal(resumed.best, straight.best)
    assert [lane.progress for lane in resumed.lanes] == [lane.progress for lane in straight.lanes]
    assert found == wanted, "no loss of a step is lost, and every figure is the same"


def test_the_state_of_another_lane_is_refused() -> None:
    gang = Gang(LM, [make_lane(LM)])
    with pytest.raises(ValueError, match=r"\d+ numbers for a lane of \d+"):
        gang.join(make_lane(LM, prompt_length=7), gang.state(gang.lanes[0]))


def test_predictions_do_not_depend_on_the_rows_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = make_lane(LM, (3, 2), examples=toy_examples((3, 2), rows=40))
    gang = Gang(LM, [lane], precision="fp32")
    _tune(gang)
    test = lane.examples.splits["test"]
    together = gang.predict(lane, gang.best[0], test)
    monkeypatch.setattr("workers.tuning.step.gang.EVALUATION_ROWS", 1)
    alone = gang.predict(lane, gang.best[0], test)
    for slot in (0, 1):
        np.testing.assert_allclose(together.scores[slot], alone.scores[slot], rtol=1e-4, atol=1e-5)
    assert np.array_equal(together.labels, test.labels)


def test_bf16_stays_near_fp32() -> None:
    def curve(precision: Any) -> list[float]:
        [evaluations] = _tune(Gang(LM, [make_lane(LM)], precision=precision))
        return [loss for _, loss in _curve(evaluations)]

    assert curve("bf16") != curve("fp32")
    assert curve("bf16") == pytest.approx(curve("fp32"), abs=0.05)


def test_a_gang_that_does_not_fit_into_memory_takes_fewer_lanes_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("plain", "two slots", "dropout", "fixed", "sampling")
    memory = Memory(monkeypatch, lanes=2)
    narrowed = Gang(LM, [MIXED[name]() for name in names], precision="fp32")
    curves = _tune(narrowed)
    assert (narrowed.max_lanes_per_pass, memory.refused) == (2, 1)
    narrow = Gang(LM, [MIXED[name]() for name in names], precision="fp32")
    narrow.max_lanes_per_pass = 2
    assert _tune(narrow) == curves, "dropout draws what it would have drawn"
    assert torch.equal(narrow.adam.values, narrowed.adam.values)


def test_a_lane_that_does_not_fit_alone_stops_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = [make_lane(LM), make_lane(LM, seed=1, batch_size=9), make_lane(LM, seed=2)]
    Memory(monkeypatch, rows=8)
    gang = Gang(LM, lanes, precision="fp32")
    curves = _tune(gang)
    assert [lane.progress.stopped for lane in gang.lanes] == ["steps", "failed", "steps"]
    assert [len(curve) for curve in curves] == [3, 0, 3]
    alone = Gang(LM, [make_lane(LM)], precision="fp32")
    for seen, expected in zip(curves[0], _tune(alone)[0], strict=True):
        assert seen.metrics["loss"] == pytest.approx(expected.metrics["loss"], abs=1e-5)


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> list[Tensor]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Gang, "_read", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        Gang(LM, [make_lane(LM), make_lane(LM)]).advance()


def _hopeless(**recipe: Any) -> Lane:
    """A lane that cannot learn: its learning rate is nothing."""
    return make_lane(LM, seed=1, learning_rate=1e-12, steps=18, **{"evaluate_every": 1, **recipe})


def test_a_lane_that_does_not_learn_begins_again_once_with_another_draw() -> None:
    gang = Gang(LM, [_hopeless(), MIXED["plain"]()], precision="fp32")
    first = gang.adam.values[0].clone()
    seen = _tune(gang)
    assert [one.step for one in seen[0]] == list(range(1, 25))
    assert [one.begins_again for one in seen[0]] == [False] * 5 + [True] + [False] * 18
    assert [step for step, _ in _curve(seen[0])] == list(range(1, 25))
    progress = gang.lanes[0].progress
    assert (progress.restarts, progress.discarded, progress.step, progress.stopped) == (1, 6, 18, "steps")
    size = gang.lanes[0].lane.shape.prefix_size
    assert not torch.allclose(gang.adam.values[0, :size], first[:size]), "another draw"
    _same(gang, 1, seen, "plain")


def test_recipe_paper_never_begins_again() -> None:
    gang = Gang(LM, [_hopeless(), _hopeless(restarts=0), _hopeless(name="paper", patience=9)], precision="fp32")
    _tune(gang)
    assert [lane.progress.restarts for lane in gang.lanes] == [1, 0, 0]


def test_a_lane_that_learns_goes_on() -> None:
    lane = make_lane(LM, examples=toy_examples(rows=60), steps=30, batch_size=10, learning_rate=0.03)
    gang = Gang(LM, [lane], precision="fp32")
    _tune(gang)
    assert (gang.lanes[0].progress.learned, gang.lanes[0].progress.restarts) == (True, 0)
