"""From outcomes to a bundle: figures by place, those that are undefined, and outcomes that name slots."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from infra.errors import BundleError, TuningError
from infra.tracking import Tracking
from task_specs.audio_policy import AudioPolicy
from task_specs.example import SPLITS, Split
from tests.fixtures.tuning import TINY, lane_spec, tiny_backbone
from workers.backbone.sharing import SharedLM
from workers.bundle.first_publication import FIRST_FILE
from workers.bundle.manifest import BackboneIdentity, BundleManifest, Data, Provenance, Task
from workers.bundle.read import read, verify
from workers.evaluation.calibration import best_temperature, softmax
from workers.evaluation.metrics import Predictions, measure
from workers.prompting.prompt import prompt_shape
from workers.tuning.results.class_scores import CLASS_SCORES_FILE, ClassScores
from workers.tuning.results.final_metrics import final_metrics
from workers.tuning.results.outcome import LaneOutcome, read_outcome, read_outcome_tensors, write_outcome
from workers.tuning.results.publish_task import PublishOrder, publish_task
from workers.tuning.results.task_manifest import TaskSections

FIGURES = {"accuracy": 0.5, "macro_f1": 0.4, "weighted_f1": 0.4, "loss": 1.2, "slot_accuracy": 0.6}
BY_PLACE = {**FIGURES, "accuracy_slot1": 0.7, "accuracy_slot2": 0.5}


def outcome(figures: dict[str, float], *, slots: tuple[str, str] = ("Mood?", "Mood!"), **changes: Any) -> LaneOutcome:
    spec = lane_spec((3, 2))
    named = tuple(slot.model_copy(update={"name": name}) for slot, name in zip(spec.slots, slots, strict=True))
    fields: dict[str, Any] = {
        "key": "k",
        "spec": spec.model_copy(update={"slots": named}),
        "lm_fingerprint": tiny_backbone().lm_fingerprint,
        "stopped": "steps",
        "steps": 9,
        "best_step": 9,
        "figures": {"valid": figures, "test": figures},
        "temperatures": [1.5, 0.5],
        "trained": 1,
        "special_rows": 0,
        "mapped_units": None,
        "seconds": 1.0,
    }
    return LaneOutcome(**{**fields, **changes})


def published(
    root: Path, *outcomes: LaneOutcome, created: datetime | None = None, scores: Mapping[str, ClassScores] | None = None
) -> BundleManifest:
    """What publishing makes of outcomes, as a reader finds it: an ensemble where there are ``scores`` of lanes."""
    rng = np.random.default_rng(0)
    for each in outcomes:
        shape = prompt_shape(TINY, each.spec.recipe, [len(slot.labels) for slot in each.spec.slots])
        tensors = {name: rng.standard_normal(of).astype(np.float32) for name, of in shape.tensors.items()}
        beside = {CLASS_SCORES_FILE: scores[each.key].to_bytes()} if scores and each.key in scores else {}
        write_outcome(str(root / "lanes"), each, tensors, beside)
    backbone = tiny_backbone()
    sections = TaskSections(
        task=Task(name="toy"),
        backbone=BackboneIdentity(unit_lm=backbone.lm_fingerprint, tokenizer=backbone.tokenizer_fingerprint),
        audio=AudioPolicy(),
        sample_rate=16_000,
        data=Data(digest="0" * 64, examples=dict.fromkeys(SPLITS, 9)),
        provenance=Provenance(created=created or datetime.now(UTC)),
        licence="CC0-1.0, see [here]",
    )
    order = PublishOrder(
        sections=sections,
        together=scores is not None,
        lanes=tuple((each.key, each.key) for each in outcomes),
        outcomes=str(root / "lanes"),
        bundles=str(root / "bundles"),
        experiment="toy",
    )
    # What MLflow is told is no part of this.
    deaf = cast("Tracking", SimpleNamespace(run=lambda *_, **__: None))
    done = publish_task(order, SharedLM.of(backbone), deaf)
    assert verify(done.uri).version == done.version
    return read(done.uri).manifest


def test_slots_whose_names_differ_by_a_mark_have_two_figures(tmp_path: Path) -> None:
    manifest = published(tmp_path, outcome(BY_PLACE))
    assert [slot.name for slot in manifest.slots] == ["Mood?", "Mood!"]
    [said] = (path.read_text() for path in tmp_path.glob("bundles/*/*/README.md"))
    assert "- Licence of the data: CC0-1.0, see \\[here\\]\n" in said
    assert {name: figure.value for name, figure in manifest.results["test"].items()} == BY_PLACE


@pytest.mark.parametrize(
    "slots", [("Mood?", "Mood!"), ("action", "object"), ("slot0", "slot1"), ("slot2", "slot3"), ("\U0001f600", "mean")]
)
def test_outcomes_that_name_their_slots_are_published_too(tmp_path: Path, slots: tuple[str, str]) -> None:
    """Those of lanes that ended before figures were named by place, also beside others."""
    named = {**FIGURES, f"accuracy_{slots[0]}": 0.7, f"accuracy_{slots[1]}": 0.5}
    text = outcome(BY_PLACE, slots=slots).model_dump(mode="json")
    old = LaneOutcome.model_validate({**text, "figures": {"valid": named, "test": named}})
    assert old == outcome(BY_PLACE, slots=slots)
    other = outcome(BY_PLACE, slots=slots, key="k2")
    manifest = published(tmp_path, old, other)
    assert {name: figure.mean for name, figure in manifest.results["valid"].items()} == BY_PLACE
    assert {figure.seeds for figure in manifest.results["valid"].values()} == {2}


@pytest.mark.parametrize("undefined", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_undefined_is_left_out(tmp_path: Path, undefined: float) -> None:
    odd = outcome({**BY_PLACE, "ece": undefined}, draws=[math.nan, 0.5], intervals={"accuracy": (0.4, 0.6)})
    manifest = published(tmp_path, odd)
    assert set(manifest.results["test"]) == set(BY_PLACE)
    assert manifest.results["test"]["accuracy"].interval == (0.4, 0.6)
    kept = read_outcome(str(tmp_path / "lanes"), "k")
    assert kept is not None
    assert math.isnan(kept.draws[0])
    assert kept.figures["test"]["ece"] == pytest.approx(undefined, nan_ok=True)


def test_a_point_without_a_number_is_said_to_have_none(tmp_path: Path) -> None:
    lanes = [
        outcome(BY_PLACE, key="a", point="l1"),
        outcome({**BY_PLACE, "accuracy": math.nan}, key="b", point="l2"),
        outcome({**BY_PLACE, "accuracy": 0.9}, key="c", point="l3"),
    ]
    sweep = published(tmp_path, *lanes).recipe["sweep"]
    assert isinstance(sweep, dict)
    assert sweep["valid"] == {"l1": 0.5, "l2": None, "l3": 0.9}


def test_what_no_bundle_holds_ends_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"^toy: a bundle cannot hold it \(temperatures\.1: .*\); ") as raised:
        published(tmp_path, outcome(BY_PLACE, temperatures=[1.0, math.nan]))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "bundles").exists()


def class_scores(seed: int) -> ClassScores:
    """Of a prompt that is right somewhat more often than not, on 40 validation and 50 test examples."""
    labels_rng, rng = np.random.default_rng(7), np.random.default_rng(seed)
    splits: dict[Split, Predictions] = {}
    for split, count in (("valid", 40), ("test", 50)):
        labels = np.stack([labels_rng.integers(size, size=count) for size in (3, 2)], axis=1)
        scores = [
            (2 * np.eye(size)[labels[:, slot]] + 2 * rng.standard_normal((count, size))).astype(np.float32)
            for slot, size in enumerate((3, 2))
        ]
        splits[cast("Split", split)] = Predictions(scores, labels)
    return ClassScores(splits)


def test_an_ensemble_holds_all_prompts_and_figures_of_their_mean_probabilities(tmp_path: Path) -> None:
    lanes, scores = [], {}
    for seed in range(3):
        scores[f"k{seed}"] = class_scores(seed)
        lane = outcome(BY_PLACE, key=f"k{seed}")
        figures = final_metrics(lane.spec, scores[lane.key].splits, None).metrics
        spec = lane.spec.model_copy(update={"seed": seed})
        lanes.append(lane.model_copy(update={"spec": spec, "figures": figures}))
    manifest = published(tmp_path, *lanes, scores=scores)
    assert (manifest.prompt.members, manifest.seed, manifest.format_version) == ((0, 1, 2), 0, 5)
    for split in SPLITS[1:]:
        parts = [each.splits[split] for each in scores.values()]
        mean = [np.log(np.mean([softmax(part.scores[slot]) for part in parts], axis=0)) for slot in range(2)]
        whole = Predictions([part.astype(np.float32) for part in mean], parts[0].labels)
        found = manifest.results[split]["accuracy"]
        assert found.value == pytest.approx(measure(whole)["accuracy"])
        assert found.mean == pytest.approx(np.mean([measure(part)["accuracy"] for part in parts]))
        assert found.value > found.mean
        if split == "valid":
            wanted = [best_temperature(part, whole.labels[:, slot]) for slot, part in enumerate(whole.scores)]
            assert manifest.temperatures == pytest.approx(wanted, rel=1e-3)
    interval = manifest.results["test"]["accuracy"].interval
    assert interval is not None
    assert interval[0] < manifest.results["test"]["accuracy"].value < interval[1]
    [tensors] = [read(str(place.parent)).tensors for place in tmp_path.glob("bundles/*/*/bundle.json")]
    for seed in range(3):
        one = read_outcome(str(tmp_path / "lanes"), f"k{seed}")
        assert one is not None
        for name, tensor in read_outcome_tensors(str(tmp_path / "lanes"), one).items():
            np.testing.assert_array_equal(tensors[name][seed], tensor)
    [card] = (path.read_text() for path in tmp_path.glob("bundles/*/*/README.md"))
    assert "An ensemble of 3 prompts, of seeds 0, 1, 2" in card
    assert "seeds 0, 1, 2 together" in card


def test_prompts_without_stored_scores_make_no_ensemble(tmp_path: Path) -> None:
    """Those of a version that kept none."""
    lanes = [outcome(BY_PLACE, key="a"), outcome(BY_PLACE, key="b")]
    with pytest.raises(TuningError, match=r"kept no scores; run the job with --restart$"):
        published(tmp_path, *lanes, scores={"a": class_scores(0)})
    assert not (tmp_path / "bundles").exists()


def test_publishing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    """Also where nothing is left of what was published, so that a job may sign what it did not see lie there."""
    first = published(tmp_path, outcome(BY_PLACE), created=datetime(2025, 1, 1, tzinfo=UTC))
    [document] = (path.read_bytes() for path in tmp_path.glob("bundles/*/*/bundle.json"))
    shutil.rmtree(tmp_path / "bundles")
    assert published(tmp_path, outcome(BY_PLACE), created=datetime(2026, 1, 1, tzinfo=UTC)) == first
    assert [path.read_bytes() for path in tmp_path.glob("bundles/*/*/bundle.json")] == [document]
    # Another bundle has a time of its own, and so has one of which the first time was not kept whole.
    better = outcome({**BY_PLACE, "accuracy": 0.9})
    other = published(tmp_path, better, created=datetime(2027, 1, 1, tzinfo=UTC))
    assert (other.version == first.version, other.provenance.created.year) == (False, 2027)
    shutil.rmtree(tmp_path / "bundles")
    (tmp_path / "lanes" / "k" / FIRST_FILE).write_bytes(b"{}")
    assert published(tmp_path, better, created=datetime(2028, 1, 1, tzinfo=UTC)).provenance.created.year == 2028
