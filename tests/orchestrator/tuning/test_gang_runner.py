"""Whichever part of Ray runs a gang, the same of its failures last; Ray itself is stood in for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial

from infra.errors import StorageError
from orchestrator.cluster.interruption import Interruption
from orchestrator.cluster.ray_train import RanksFailed
from orchestrator.cluster.session import ActorSize
from orchestrator.job_files import noted_failure
from orchestrator.tuning import parallel_gangs, ray_tune, tune_hooks
from orchestrator.tuning.gang_runner import GangFailure, GangListener, GangRunner, Workplace
from orchestrator.tuning.parallel_gangs import TrainRunner
from orchestrator.tuning.ray_tune import TuneRunner
from tests.fixtures.orders import gang_order
from tests.fixtures.tuning import lane_spec
from workers.tuning.orders import LaneOrder

LISTENER = GangListener(
    on_report=lambda *_: None,
    on_lanes_ended=lambda _: None,
    on_recovery=lambda *_: None,
)
NODE = "The actor died because its node has died. Node Id: 05"
WORKER = "Worker exit type: SYSTEM_ERROR Worker exit detail: Worker is gone. "


class Cluster:
    """Ends every gang with what it is told to say, or lets all be.

    Args:
        root: directory of a job.
        kind: of runner.
        patch: by which it stands in for Ray.
    """

    def __init__(self, root: Path, kind: str, patch: pytest.MonkeyPatch) -> None:
        self.said: str | None = None
        self.ran: list[str] = []
        self._root, self._kind = root, kind
        patch.setattr(ray, "put", lambda value: value)
        patch.setattr(parallel_gangs, "run_ranks", self._ranks)
        patch.setattr(tune, "with_parameters", lambda trainable, **_: trainable)
        patch.setattr(tune, "run", self._tune)
        patch.setattr(ray_tune, "said_of", lambda _: self.said)

    def runner(self, *, retry_failed: bool = False) -> GangRunner:
        place = Workplace("tune-0", str(self._root), None, ActorSize(1, 0, 2))  # type: ignore[arg-type]
        if self._kind == "train":
            return TrainRunner(place, retry_failed=retry_failed, workers=2)
        return TuneRunner(place, retry_failed=retry_failed, interruption=Interruption())

    def submit(self, *tasks: str, **options: Any) -> dict[str, GangFailure]:
        lanes = [
            LaneOrder(key=task, spec=lane_spec().model_copy(update={"task": task}), run_name=task, params={})
            for task in tasks or ["toy"]
        ]
        return self.runner(**options).run([gang_order(lanes, str(self._root / "lanes"), name="gang000")], LISTENER)

    def noted(self) -> str | None:
        return noted_failure(self.runner().directory("gang000"))

    def _ranks(self, *_: Any, name: str, **__: Any) -> None:
        self.ran.append(name)
        if self.said is not None:
            raise RanksFailed(f"Training failed due to worker errors:\n{self.said}")

    def _tune(self, *_: Any, config: dict[str, Any], **__: Any) -> SimpleNamespace:
        [order] = config["gang"]["grid_search"]
        self.ran.append(order["name"])
        status = Trial.TERMINATED if self.said is None else Trial.ERROR
        return SimpleNamespace(trials=[SimpleNamespace(status=status, ERROR=Trial.ERROR, config={"gang": order})])


@pytest.fixture(params=["tune", "train"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, request.param, monkeypatch)


@pytest.mark.parametrize(
    ("said", "of_a_task", "lasting", "worker_ended"),
    [
        ("ValueError: wrong", True, True, False),
        ("infra.errors.FrozenWeightsChanged: changed", False, True, False),
        (NODE, False, False, True),
        (WORKER, True, True, True),
    ],
)
def test_what_failed_with_its_machine_is_taken_up_by_the_next_submission_and_all_else_is_not(
    cluster: Cluster, said: str, of_a_task: bool, lasting: bool, worker_ended: bool
) -> None:
    cluster.said = said
    [failure] = cluster.submit().values()
    assert (failure.of_a_task, failure.lasting, failure.worker_ended) == (of_a_task, lasting, worker_ended)
    assert cluster.noted() == (failure.cause if lasting else None)
    cluster.said = None
    again = cluster.submit()
    assert (len(cluster.ran), len(again)) == ((1, 1) if lasting else (2, 0))
    assert [one.cause for one in again.values()] == ([failure.cause] if lasting else [])
    assert cluster.submit(retry_failed=True) == {}
    assert len(cluster.ran) == (2 if lasting else 3)
    assert cluster.noted() is None


def test_a_worker_that_ended_without_a_word_is_to_be_retried_by_hand(cluster: Cluster) -> None:
    cluster.said = WORKER
    [failure] = cluster.submit().values()
    assert failure.cause.endswith("; then take it up again with --retry-failed")
    [later] = cluster.submit().values()
    assert (later.cause, later.worker_ended, later.of_a_task) == (failure.cause, True, False)


def test_a_gang_that_can_be_dissolved_has_not_failed_for_good(cluster: Cluster) -> None:
    cluster.said = "ValueError: wrong"
    [failure] = cluster.submit("one", "two").values()
    assert failure.of_a_task
    assert cluster.noted() is None


def test_a_full_disk_is_no_failure_of_a_gang(cluster: Cluster) -> None:
    cluster.said = "OSError: [Errno 28] No space left on device: '/runs/x'"
    with pytest.raises(StorageError, match=r"/runs/x cannot be written .*, then submit the job again"):
        cluster.submit()
    assert cluster.noted() is None


def test_more_workers_than_there_are_is_nothing_that_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(tmp_path, "train", monkeypatch)
    runner: Callable[..., TrainRunner] = TrainRunner
    place = Workplace("tune-0", str(tmp_path), None, ActorSize(1, 0, 1))  # type: ignore[arg-type]
    order = gang_order([LaneOrder(key="a", spec=lane_spec(), run_name="a", params={})], str(tmp_path))
    [failure] = runner(place, retry_failed=False, workers=2).run([order], LISTENER).values()
    assert failure.cause.startswith("workers: is 2, but there is room for 1 with 1 CPUs")
    assert not failure.lasting
    assert not cluster.ran


def test_secrets_do_not_reach_ray_s_logs() -> None:
    class_cache.ENV_VARS_TO_PROPAGATE.update(tune_hooks.SECRETS)
    tune_hooks.keep_secrets_from_actors()
    assert not class_cache.ENV_VARS_TO_PROPAGATE & set(tune_hooks.SECRETS)
