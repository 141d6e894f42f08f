"""What an actor takes up when a trial begins: the newest checkpoint that is whole, whoever it was written for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ray.train._internal.storage import StorageContext

from infra import object_storage
from tests.fixtures.tuning import lane_spec, tiny_backbone, toy_examples
from workers.actor import GangTrainable
from workers.backbone.sharing import SharedLM
from workers.orders import GangOrder, LaneOrder

pytestmark = pytest.mark.usefixtures("ray_cluster")
SHARED = SharedLM.of(tiny_backbone())
STEPS, EVERY = 12, 3


class Trial:
    """A trial's place in storage, and the actors that come and go."""

    def __init__(self, root: Path) -> None:
        self.root = root
        examples = toy_examples()
        place = str(root / "examples.safetensors")
        object_storage.write_bytes(place, examples.to_bytes())
        spec = lane_spec(steps=STEPS, evaluate_every=EVERY)
        spec = spec.model_copy(update={"examples": place, "examples_digest": examples.digest()})
        self._order = GangOrder(
            name="gang000-toy",
            lanes=(LaneOrder(key="lane", spec=spec, run_name="lane", params={}),),
            width=1,
            precision="fp32",
            cpus=1,
            outcomes=str(root / "lanes"),
            experiment="toy",
            parent_key="parent",
            tracking=f"sqlite:///{root}/mlflow.db",
            spool=str(root / "spool"),
        )

    def actor(self) -> Any:
        class Direct(GangTrainable):
            def setup(self, config: dict[str, Any], **_: Any) -> None:
                super().setup(config, shared=SHARED)

        storage = StorageContext(str(self.root / "runs"), experiment_dir_name="tune-1", trial_dir_name="gang000-toy")
        return Direct({"gang": self._order.model_dump(mode="json")}, storage=storage)

    def checkpoints(self) -> dict[str, int]:
        """Steps of the stored checkpoints by name."""
        found = {}
        for directory in sorted((self.root / "runs/tune-1/gang000-toy").glob("checkpoint_*")):
            lanes = json.loads((directory / "lanes.json").read_text())
            found[directory.name] = lanes["0"]["progress"]["step"]
        return found


def lane_steps(actor: Any) -> int:
    """Where the next step of the actor ends."""
    return int(actor.train()["lane_steps"])


def test_an_actor_goes_on_from_the_newest_checkpoint_that_is_whole(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    first = trial.actor()
    for number in (1, 2, 3):
        assert lane_steps(first) == number * EVERY
        first.save()
    first.stop()
    directory = tmp_path / "runs/tune-1/gang000-toy"
    assert trial.checkpoints() == {f"checkpoint_00000{number}": EVERY * (number + 1) for number in range(3)}

    # Killed while it wrote its last one; nobody but the directory knows of them.
    (directory / "checkpoint_000002" / "queue.json").unlink()
    second = trial.actor()
    assert trial.checkpoints() == {"checkpoint_000001": 2 * EVERY}
    assert lane_steps(second) == 3 * EVERY
    # Not over what may be left of another.
    second.save()
    second.stop()
    assert trial.checkpoints() == {"checkpoint_000001": 2 * EVERY, "checkpoint_000003": 3 * EVERY}

    for checkpoint in directory.glob("checkpoint_*"):
        (checkpoint / "lanes.safetensors").write_bytes(b"x")
    third = trial.actor()
    assert trial.checkpoints() == {}
    assert lane_steps(third) == EVERY
    third.stop()


def test_a_gang_begins_where_there_is_no_checkpoint(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    actor = trial.actor()
    assert lane_steps(actor) == EVERY
    actor.stop()
    shutil.rmtree(tmp_path / "runs")
    again = trial.actor()
    assert lane_steps(again) == EVERY
    again.stop()
