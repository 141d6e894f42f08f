"""Verdicts on prompts against a baseline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from workers.evaluation.answers import Answers
from workers.evaluation.comparison import MARGIN, SMALL_MARGIN, Comparison, compare, holm
from workers.evaluation.metrics import Predictions


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.evaluation.comparison.RESAMPLES", 1000)


def answers(right: NDArray[np.bool_], speakers: NDArray[np.int64] | None = None) -> Answers:
    """Of one slot with two classes, in turn."""
    labels = (np.arange(len(right)) % 2)[:, None]
    return Answers(labels, np.where(right[:, None], labels, 1 - labels), [2], speakers=speakers)


def first(share: float, count: int) -> NDArray[np.bool_]:
    """Right on the first examples alone."""
    return np.arange(count) < round(share * count)


def compared(prompts: Answers | list[Answers], baseline: Answers, metric: str = "accuracy") -> Comparison:
    found = compare(prompts if isinstance(prompts, list) else [prompts], baseline, metric)
    assert found is not None
    return found


def verdict(found: Comparison) -> str:
    return found.verdict(found.p)


@pytest.mark.parametrize(("ours", "theirs", "expected"), [(0.9, 0.8, "win"), (0.7, 0.9, "loss"), (0.8, 0.8, "tie")])
def test_the_better_one_wins(ours: float, theirs: float, expected: str) -> None:
    found = compared(answers(first(ours, 400)), answers(first(theirs, 400)))
    assert (verdict(found), found.margin) == (expected, SMALL_MARGIN)
    assert found.difference == pytest.approx(ours - theirs)


def test_the_interval_is_that_of_paired_differences() -> None:
    """Both are right on 360 of 400 examples and one alone on 40: what they share moves neither."""
    found = compared(answers(first(1.0, 400)), answers(first(0.9, 400)))
    error = np.sqrt(0.1 * 0.9 / 400)
    assert found.interval == pytest.approx((0.1 - 1.96 * error, 0.1 + 1.96 * error), abs=0.003)
    halves = np.arange(400) < 200
    opposite = compared(answers(halves), answers(~halves))
    assert opposite.interval == pytest.approx((-1.96 / 20, 1.96 / 20), abs=0.006)
    assert opposite.p > 0.9


def test_few_examples_decide_nothing() -> None:
    rng = np.random.default_rng(0)
    few = compared(answers(rng.random(50) < 0.8), answers(rng.random(50) < 0.8))
    assert verdict(few) == "undecided"
    rights = rng.random(4000) < 0.9
    nearly = rights ^ (rng.random(4000) < 0.01)
    many = compared(answers(nearly), answers(rights))
    assert many.margin == MARGIN
    assert verdict(many) in ("tie", "loss")
    assert many.model_copy(update={"interval": (-0.0099, 0.001)}).verdict(0.2) == "tie"
    assert many.model_copy(update={"interval": (-0.0101, 0.001)}).verdict(0.2) == "undecided"


def test_speakers_are_drawn_whole() -> None:
    """Ten speakers on each of whom one system is right throughout are ten draws, not 400."""
    speakers = np.repeat(np.arange(10), 40)
    ours, theirs = speakers < 8, speakers >= 5
    alone = compared(answers(ours), answers(theirs))
    together = compared(answers(ours, speakers), answers(theirs, speakers))
    assert alone.difference == together.difference == pytest.approx(0.3)
    assert (verdict(alone), verdict(together)) == ("win", "undecided")


def test_seeds_are_drawn_beside_examples() -> None:
    """Of two seeds one is always right and one is not: draws of seeds move the difference by as much."""
    good, bad, baseline = answers(first(1.0, 1000)), answers(first(0.6, 1000)), answers(first(0.78, 1000))
    one, two = compared([good], baseline), compared([good, bad], baseline)
    assert (verdict(one), verdict(two)) == ("win", "undecided")
    assert two.difference == pytest.approx(0.02)
    assert two.interval[1] - two.interval[0] > 0.35


def detector(shift: float) -> Answers:
    rng = np.random.default_rng(1)
    labels = np.arange(300)[:, None] % 2
    odds = rng.normal(size=300) + shift * labels[:, 0]
    return Predictions([np.stack([-odds, odds], axis=1).astype(np.float32)], labels).answers(1)


def test_of_error_rates_the_lower_one_is_better() -> None:
    found = compared(detector(4.0), detector(1.0), "eer")
    assert found.difference > 0.2
    assert found.interval[0] > 0
    assert verdict(found) == "win"
    assert verdict(compared(detector(1.0), detector(4.0), "eer")) == "loss"


def test_a_metric_that_is_no_mean_is_computed_on_every_draw() -> None:
    """Who never answers the rare class loses nearly half of macro F1, and a tenth of accuracy."""
    labels = (np.arange(500) % 10 == 0).astype(np.int64)[:, None]
    never, always = (Answers(labels, predicted, [2]) for predicted in (np.zeros_like(labels), labels))
    assert compared(always, never).difference == pytest.approx(0.1)
    found = compared(always, never, "macro_f1")
    assert found.difference == pytest.approx(1 - 0.5 * (2 * 450 / 950))
    assert found.interval[0] < found.difference < found.interval[1]


def test_what_is_undefined_is_not_compared() -> None:
    none = detector(1.0)
    assert compare([none], replace(none, labels=np.zeros((300, 1), np.int64)), "eer") is None


def test_p_values_are_corrected_by_holm() -> None:
    """The example of R's documentation, ``p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")``."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([]) == []


def test_a_difference_that_is_significant_alone_may_not_be_among_many() -> None:
    found = Comparison(difference=0.05, interval=(0.01, 0.09), p=0.02, margin=0.03)
    assert [found.verdict(p) for p in (found.p, 0.14)] == ["win", "tie"]


@given(
    st.integers(0, 2**32), st.lists(st.integers(1, 2**15), min_size=1, max_size=3), st.integers(1, 20),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_answers_are_read_as_they_were_written(
    seed: int, sizes: list[int], count: int, speakers: bool, binary: bool
) -> None:
    rng = np.random.default_rng(seed)
    written = Answers(
        rng.integers(sizes, size=(count, len(sizes))),
        rng.integers(sizes, size=(count, len(sizes))),
        sizes,
        positive=1 if binary else None,
        odds=rng.normal(size=count) if binary else None,
        speakers=rng.integers(count, size=count) if speakers else None,
    )
    read = Answers.from_bytes(written.to_bytes())
    for name in ("labels", "predicted", "sizes", "positive", "odds", "speakers"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    assert read.to_bytes() == written.to_bytes()
