from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from infra import object_storage as storage
from tests.fixtures.tuning import lane_spec
from workers.tuning.results.outcome import LaneOutcome, read_outcome, read_outcome_tensors, write_outcome


def _outcome(steps: int = 100) -> LaneOutcome:
    return LaneOutcome(
        key="k1",
        spec=lane_spec((3, 2), verbalizer="random"),
        lm_fingerprint="a" * 64,
        stopped="patience",
        steps=steps,
        best_step=60,
        figures={"valid": {"accuracy": 1 / 3}, "test": {"accuracy": 0.25}},
        confusions=[[(0, 1, 7)], []],
        trained=123_904,
        special_rows=0,
        mapped_units=[[4, 9, 1], [0, 3]],
        seconds=1.5,
    )


def test_round_trip(store_root: str) -> None:
    tensors = {"prompt.keys": np.arange(6, dtype=np.float32).reshape(1, 2, 3)}
    assert read_outcome(store_root, "k1") is None
    written = write_outcome(store_root, _outcome(), tensors)
    assert read_outcome(store_root, "k1") == written
    assert written.model_copy(update={"files": {}}) == _outcome()
    np.testing.assert_array_equal(read_outcome_tensors(store_root, written)["prompt.keys"], tensors["prompt.keys"])
    assert storage.list_files(store_root) == ["k1/lane.json", "k1/prompt.safetensors"]
    write_outcome(store_root, _outcome(steps=200), {"prompt.keys": tensors["prompt.keys"] + 1})
    again = read_outcome(store_root, "k1")
    assert again is not None
    assert again.steps == 200
    assert float(read_outcome_tensors(store_root, again)["prompt.keys"].min()) == 1


def test_a_lane_without_its_description_has_not_finished(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = str(tmp_path_factory.mktemp("outcomes"))
    storage.write_bytes(storage.join(root, "k1", "prompt.safetensors"), b"")
    assert read_outcome(root, "k1") is None


def test_why_it_stopped_is_one_of_five() -> None:
    with pytest.raises(ValidationError, match="stopped"):
        LaneOutcome.model_validate(_outcome().model_dump() | {"stopped": "bored"})
