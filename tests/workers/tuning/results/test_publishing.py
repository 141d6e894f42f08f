"""From outcomes to a bundle: figures by place, those that are undefined, and outcomes that name slots."""

from __future__ import annotations

import math
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from infra.errors import BundleError
from infra.tracking import Tracking
from task_specs.audio_policy import AudioPolicy
from task_specs.example import SPLITS
from tests.fixtures.tuning import TINY, lane_spec, tiny_backbone
from workers.backbone.sharing import SharedLM
from workers.bundle.first_publication import FIRST_FILE
from workers.bundle.manifest import BackboneIdentity, BundleManifest, Data, Provenance, Task
from workers.bundle.read import read, verify
from workers.prompting.prompt import prompt_shape
from workers.tuning.results.outcome import LaneOutcome, read_outcome, write_outcome
from workers.tuning.results.publish_best import PublishOrder, publish_task
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


def published(root: Path, *outcomes: LaneOutcome, created: datetime | None = None) -> BundleManifest:
    """What publishing makes of outcomes, as a reader finds it."""
    rng = np.random.default_rng(0)
    for each in outcomes:
        shape = prompt_shape(TINY, each.spec.recipe, [len(slot.labels) for slot in each.spec.slots])
        tensors = {name: rng.standard_normal(of).astype(np.float32) for name, of in shape.tensors.items()}
        write_outcome(str(root / "lanes"), each, tensors)
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
