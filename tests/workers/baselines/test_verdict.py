"""From stored answers of prompts and baselines to verdicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.orders import lane_outcome
from tests.fixtures.tuning import lane_spec
from workers.baselines.result import BaselineResult, write_result
from workers.baselines.verdict import TaskVerdict, compared, judged, picked
from workers.evaluation.answers import Answers
from workers.evaluation.comparison import Comparison
from workers.evaluation.metrics import Predictions
from workers.tuning.results.class_scores import CLASS_SCORES_FILE, ClassScores, scores_together
from workers.tuning.results.outcome import LaneOutcome, write_outcome


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.evaluation.comparison.RESAMPLES", 1000)


def answers(right: int) -> Answers:
    """So many of 400 right, the first ones."""
    labels = (np.arange(400) % 3)[:, None]
    return Answers(labels, np.where(np.arange(400)[:, None] < right, labels, (labels + 1) % 3), [3])


def scores(right: int, sure: float = 3.0) -> ClassScores:
    """Scores that give these answers."""
    given = answers(right)
    predictions = Predictions([np.eye(3, dtype=np.float32)[given.predicted[:, 0]] * np.float32(sure)], given.labels)
    return ClassScores({"valid": predictions, "test": predictions})


class Stored:
    """A job's lanes and baselines."""

    def __init__(self, root: Path) -> None:
        self.lanes, self.baselines = str(root / "lanes"), str(root / "baselines")

    def lane(self, key: str, right: int | None) -> LaneOutcome:
        files = {} if right is None else {CLASS_SCORES_FILE: scores(right).to_bytes()}
        return write_outcome(self.lanes, lane_outcome(key, lane_spec()), {}, files)

    def baseline(self, kind: str, valid: float, right: int) -> BaselineResult:
        figures = {"valid": {"accuracy": valid}, "test": {"accuracy": right / 400}}
        return write_result(self.baselines, BaselineResult(key=kind, kind=kind, figures=figures), answers(right))

    def compared(
        self, lanes: list[LaneOutcome], results: list[BaselineResult], *, together: bool = False
    ) -> TaskVerdict:
        return compared(self.lanes, lanes, self.baselines, results, together=together)


def test_validation_picks_the_baseline_and_test_judges_it(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    lanes = [stored.lane("a", 340), stored.lane("b", 348)]
    results = [stored.baseline("majority", 0.3, 130), stored.baseline("ngrams", 0.9, 300)]
    results += [stored.baseline("probe", 0.8, 400), BaselineResult(key="x", kind="cnn", error="no room")]
    found = stored.compared(lanes, results)
    assert (found.baseline, found.reason) == ("ngrams", None)
    assert found.comparison is not None
    assert found.comparison.difference == pytest.approx(344 / 400 - 300 / 400)
    assert (found.verdict, judged({"toy": found})["toy"].verdict) == (None, "win")
    assert stored.compared(lanes, results) == found


def test_of_an_ensemble_the_verdict_is_that_of_its_prompts_together(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    lanes, baseline = [stored.lane("a", 340), stored.lane("b", 348)], stored.baseline("ngrams", 0.9, 300)
    found = stored.compared(lanes, [baseline], together=True)
    assert found.comparison is not None
    # Both are equally sure, so where they differ the first of equal classes counts.
    both = scores_together(stored.lanes, lanes).answers(None).all_right.mean()
    assert found.comparison.difference == pytest.approx(both - 300 / 400)
    assert 340 / 400 < both <= 348 / 400


def test_of_equal_baselines_the_first_is_picked_and_of_error_rates_the_lowest() -> None:
    def result(kind: str, **valid: float) -> BaselineResult:
        return BaselineResult(key=kind, kind=kind, figures={"valid": valid})

    some = [result("a", eer=0.3, accuracy=0.5), result("b", eer=0.1, accuracy=0.5), result("c", eer=float("nan"))]
    assert picked(some[:2], "accuracy") == some[0]
    assert picked(some, "eer") == some[1]


def test_without_anything_to_compare_it_says_why(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    good, baseline = stored.lane("a", 300), stored.baseline("ngrams", 0.9, 300)
    assert stored.compared([good], []) == TaskVerdict(reason="the job computes no baselines")
    failed = BaselineResult(key="x", kind="cnn", error="no room")
    assert stored.compared([good], [failed]) == TaskVerdict(reason="none of its baselines has figures")
    old = stored.compared([good, stored.lane("old", None)], [baseline])
    assert old.reason == "its prompts were tuned by a version that kept no scores; run the job with --restart"
    (tmp_path / "baselines" / "ngrams.safetensors").unlink()
    damaged = stored.compared([good], [baseline]).reason
    assert damaged is not None
    assert damaged.endswith("ngrams.safetensors is missing; it is computed again")


def test_p_values_are_corrected_over_the_tasks_that_have_one() -> None:
    def task(p: float) -> TaskVerdict:
        comparison = Comparison(difference=-0.05, interval=(-0.09, -0.01), p=p, margin=0.03)
        return TaskVerdict(baseline="ngrams", comparison=comparison)

    none = TaskVerdict(reason="the job computes no baselines")
    found = judged({"one": task(0.02), "none": none, "two": task(0.03), "three": task(0.001)})
    assert found["none"] == none
    assert {name: part.verdict for name, part in found.items()} == {
        "one": "loss", "two": "loss", "three": "loss", "none": None,
    }  # fmt: skip
    assert [found[name].p for name in ("one", "two", "three")] == pytest.approx([0.04, 0.04, 0.003])
    assert judged({"one": task(0.03), "two": task(0.03)})["one"].verdict == "undecided"
