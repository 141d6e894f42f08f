"""What a task reaches without a prompt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from infra import object_storage
from infra.errors import StorageError
from task_specs.example import SPLITS, Split
from tests.fixtures.plain_lm import plain_logits
from tests.fixtures.tuning import UNIT_TOKENS, UNITS, lane_spec, tiny_backbone, tiny_lm, toy_examples
from workers.backbone.sharing import SharedLM
from workers.baselines.baseline import BaselineTask, Fitted
from workers.baselines.kinds import BASELINES
from workers.baselines.linear_probe import linear_probe, mean_states
from workers.baselines.logistic import UNSEEN
from workers.baselines.majority import majority
from workers.baselines.ngrams import ngrams
from workers.baselines.order import BaselineOrder, FeatureKeys
from workers.baselines.result import BaselineResult, read_baseline_answers, read_result, write_result
from workers.baselines.run import run_baseline
from workers.evaluation.answers import Answers
from workers.evaluation.metrics import Predictions
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.speech.feature_cache import FeatureCache
from workers.speech.sequences import UnitSequences
from workers.unit_lm.kinds import build_lm
from workers.unit_lm.pgslm.config import PGSLMConfig

SHARED = SharedLM.of(tiny_backbone())


def accuracy(predictions: Predictions) -> float:
    """Share of the examples all of whose slots are right."""
    return float((predictions.classes == predictions.labels).all(axis=1).mean())


def with_labels(examples: TaskExamples, split: Split, labels: NDArray[np.int64]) -> TaskExamples:
    return TaskExamples({**examples.splits, split: SplitExamples(examples.splits[split].units, labels)})


def test_the_majority_is_the_most_frequent_combination_of_the_training_split() -> None:
    """Slot by slot it would be (0, 0), which never occurs."""
    train = np.array([[0, 1]] * 3 + [[1, 0]] * 4 + [[0, 2]] * 2)
    part = SplitExamples(UnitSequences.of([[0]] * len(train)), train)
    test = np.array([[1, 0], [0, 1], [1, 2], [0, 0]])
    examples = TaskExamples({"train": part, "valid": part, "test": SplitExamples(UnitSequences.of([[0]] * 4), test)})
    answer = majority(BaselineTask(lane_spec((2, 3)), examples))
    assert answer.predictions["test"].classes.tolist() == [[1, 0]] * 4
    assert accuracy(answer.predictions["test"]) == 0.25
    assert accuracy(answer.predictions["valid"]) == pytest.approx(4 / 9)


def test_ngrams_tell_classes_whose_units_differ_in_every_slot() -> None:
    examples = toy_examples((3, 2), rows=60)
    answer = ngrams(BaselineTask(lane_spec((3, 2)), examples))
    # A row may have no unit of a slot at all, which nothing can tell.
    assert accuracy(answer.predictions["test"]) > 0.6
    assert [scores.shape for scores in answer.predictions["valid"].scores] == [(60, 3), (60, 2)]
    # A binary model has one row of weights.
    assert answer.trained == (answer.settings["features"] + 1) * (3 + 1)  # type: ignore[operator]
    assert answer.settings["converged"]


def test_ngrams_know_the_order_of_units() -> None:
    rng = np.random.default_rng(0)

    def part(rows: int) -> SplitExamples:
        labels = rng.integers(2, size=rows)
        pairs = [[1, 2] if label else [2, 1] for label in labels]
        return SplitExamples(UnitSequences.of([[0, *pair, 0, *pair] for pair in pairs]), labels[:, None])

    examples = TaskExamples({"train": part(40), "valid": part(10), "test": part(30)})
    answer = ngrams(BaselineTask(lane_spec((2,)), examples))
    assert accuracy(answer.predictions["test"]) == 1


def test_the_regularisation_is_chosen_on_validation_alone() -> None:
    rng = np.random.default_rng(1)
    noisy = toy_examples((3,), rows=40)
    noisy = with_labels(noisy, "train", np.where(rng.random((40, 1)) < 0.3, 0, noisy.splits["train"].labels))
    answer = ngrams(BaselineTask(lane_spec(), noisy))
    shuffled = with_labels(noisy, "test", rng.permutation(noisy.splits["test"].labels))
    other = ngrams(BaselineTask(lane_spec(), shuffled))
    assert other.settings == answer.settings
    np.testing.assert_array_equal(other.predictions["test"].scores[0], answer.predictions["test"].scores[0])
    # Other validation labels choose otherwise.
    chosen = set()
    for labels in (rng.permutation(noisy.splits["valid"].labels) for _ in range(8)):
        other = ngrams(BaselineTask(lane_spec(), with_labels(noisy, "valid", labels)))
        chosen.add(other.settings["C"])
    assert len(chosen) > 1


def test_classes_without_a_usable_training_example_are_never_answered() -> None:
    examples = toy_examples((3,))
    train = examples.splits["train"]
    left = np.flatnonzero(train.labels[:, 0] != 1)
    part = SplitExamples(train.units.take(left), train.labels[left])
    answer = ngrams(BaselineTask(lane_spec(), TaskExamples({**examples.splits, "train": part})))
    scores = answer.predictions["test"].scores[0]
    assert set(answer.predictions["test"].classes[:, 0]) == {0, 2}
    np.testing.assert_allclose(scores[:, 1], scores[:, [0, 2]].min(axis=1) - UNSEEN, rtol=1e-5)
    left = np.flatnonzero(train.labels[:, 0] == 1)
    part = SplitExamples(train.units.take(left), train.labels[left])
    answer = ngrams(BaselineTask(lane_spec(), TaskExamples({**examples.splits, "train": part})))
    assert set(answer.predictions["test"].classes[:, 0]) == {1}
    assert (answer.trained, np.isfinite(answer.predictions["test"].loss())) == (0, True)


def test_states_are_means_over_units_without_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits are linear in states, so means of logits, computed row by row in float64, must be those of mean states."""
    monkeypatch.setattr("workers.baselines.linear_probe.TOKENS", 30)
    lm = tiny_lm()
    units = toy_examples((3,)).splits["train"].units
    states = mean_states(units, lm, UNIT_TOKENS, precision="fp32")
    assert (str(states.dtype), states.shape) == ("float32", (len(units), lm.config.dim))
    for row in range(len(units)):
        tokens = np.concatenate([[lm.config.start], UNIT_TOKENS[units[row]]])
        expected = plain_logits(lm, tokens)[1:].mean(axis=0)
        np.testing.assert_allclose(states[row] @ lm.embed.weight.numpy().T, expected, atol=2e-4)


def test_a_multistream_lm_hears_durations_and_pitch() -> None:
    config = PGSLMConfig(
        layers=1, dim=16, heads=2, ffn_dim=24, vocabulary=UNITS + 4, bos=UNITS, pad=UNITS + 1, eos=UNITS + 2,
        streams="continuous",
    )  # fmt: skip
    lm = build_lm(config).requires_grad_(False).eval()
    lm.initialise(0)
    tokens = np.arange(UNITS, dtype=np.int64)
    units = toy_examples((3,), prosody=True).splits["train"].units
    assert units.prosody is not None
    states = mean_states(units, lm, tokens, precision="fp32")
    one_by_one = [mean_states(units.take(np.array([row])), lm, tokens, precision="fp32") for row in range(len(units))]
    np.testing.assert_allclose(states, np.concatenate(one_by_one), atol=1e-5)
    longer = replace(units, prosody=replace(units.prosody, durations=units.prosody.durations + 5))
    assert np.abs(mean_states(longer, lm, tokens, precision="fp32") - states).max() > 1e-3


def test_the_probe_tells_the_toy_classes_better_than_chance() -> None:
    examples = toy_examples((3,), rows=60)
    task = BaselineTask(lane_spec(), examples, SHARED, precision="fp32")
    answer = linear_probe(task)
    assert accuracy(answer.predictions["test"]) > 0.6
    assert answer.trained == (16 + 1) * 3
    again = linear_probe(task)
    np.testing.assert_array_equal(again.predictions["test"].scores[0], answer.predictions["test"].scores[0])


def order(root: Path, kind: str, examples: TaskExamples, digest: str | None = None) -> BaselineOrder:
    place = str(root / "examples.safetensors")
    object_storage.write_bytes(place, examples.to_bytes())
    spec = lane_spec().model_copy(update={"examples": place, "examples_digest": digest or examples.digest()})
    return BaselineOrder(
        key=kind, kind=kind, spec=spec, run_name=kind, params={}, precision="fp32", results=str(root / "baselines"),
        experiment="toy", parent_key="parent", tracking="", spool="",
    )  # fmt: skip


def with_features(order: BaselineOrder, root: Path) -> BaselineOrder:
    """The order with random features of its 24 examples a split."""
    keys = {split: tuple(f"{split}{row}" for row in range(24)) for split in SPLITS}
    made = np.random.default_rng(0).random((72, 2, 3)).astype(np.float32)
    FeatureCache(str(root), "f" * 64).add(dict(zip((key for part in keys.values() for key in part), made, strict=True)))
    return order.model_copy(update={"features": FeatureKeys(root=str(root), tokenizer="f" * 64, splits=keys)})


@pytest.mark.parametrize("kind", BASELINES)
def test_figures_are_those_that_lanes_have(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.baselines.cnn.LEAST_STEPS", 30)
    result, answers = run_baseline(with_features(order(tmp_path, kind, toy_examples()), tmp_path / "units"), SHARED)
    assert result.error is None
    assert answers is not None
    assert float(answers.all_right.mean()) == result.figures["test"]["accuracy"]
    assert list(result.figures) == ["valid", "test"]
    assert {"accuracy", "macro_f1", "loss"} <= result.figures["test"].keys()
    assert (result.trained > 0) == (kind != "majority")


@pytest.mark.parametrize("kind", BASELINES)
def test_a_baseline_that_cannot_be_says_why(kind: str, tmp_path: Path) -> None:
    result, answers = run_baseline(order(tmp_path, kind, toy_examples(), digest="0" * 64), SHARED)
    assert (result.figures, result.kind, answers) == ({}, kind, None)
    assert result.error is not None
    assert "not the examples of toy" in result.error


def test_what_scikit_learn_cannot_do_becomes_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: BaselineTask) -> Fitted:
        raise MemoryError("no room for 9 TiB")

    monkeypatch.setattr("workers.baselines.ngrams.ngrams", fails)
    result, _ = run_baseline(order(tmp_path, "ngrams", toy_examples()))
    assert result.error == ("it failed (MemoryError: no room for 9 TiB); leave it out of the job's baselines")


def test_a_result_is_read_as_it_was_written(store_root: str) -> None:
    assert read_result(store_root, "k") is None
    result = BaselineResult(
        key="k", kind="ngrams", figures={"test": {"accuracy": 1 / 3}}, trained=7, settings={"C": 1.0}, seconds=2.5
    )
    assert write_result(store_root, result) == result
    assert read_result(store_root, "k") == result
    answers = Answers(np.array([[1], [0]]), np.array([[1], [1]]), [2])
    written = write_result(store_root, result, answers)
    assert read_result(store_root, "k") == written
    assert read_baseline_answers(store_root, written).to_bytes() == answers.to_bytes()
    place = object_storage.join(store_root, "k.safetensors")
    data = object_storage.read_bytes(place)
    object_storage.write_bytes(place, data[:-1] + b"!")
    with pytest.raises(
        StorageError, match=r"k\.safetensors is not the file that k\.json describes; it is computed again"
    ):
        read_result(store_root, "k")
    object_storage.write_bytes(object_storage.join(store_root, "k.json"), b"{}")
    with pytest.raises(StorageError, match=r"k\.json .*; it is computed again"):
        read_result(store_root, "k")
