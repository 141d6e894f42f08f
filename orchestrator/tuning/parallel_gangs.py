"""Ray Train runs the gangs of big tasks: several workers tune one gang, each with its share of every batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import ray
from ray.train import CheckpointConfig

from orchestrator.cluster.ray_train import RanksFailed, run_ranks
from orchestrator.tuning.gang_runner import GangFailure, GangListener, GangRunner, Workplace
from workers.tuning.orders import GangOrder
from workers.tuning.run.train_rank import tune_rank


class TrainRunner(GangRunner):
    """Tunes gangs one after another.

    Args:
        place: where they run; the runs of Ray Train share its name.
        retry_failed: whether gangs that failed before are taken up again.
        workers: that tune each of them together.
    """

    def __init__(self, place: Workplace, *, retry_failed: bool, workers: int) -> None:
        super().__init__(place, retry_failed=retry_failed)
        self._workers = workers

    def run(self, orders: Sequence[GangOrder], listener: GangListener) -> dict[str, GangFailure]:
        size = self.place.size
        if self._workers <= size.workers:
            return super().run(orders, listener)
        cause = (
            f"workers: is {self._workers}, but there is room for {size.workers} with {size.cpus:g} CPUs and "
            f"{size.gpus:g} GPUs each; lower it, or give the job more resources"
        )
        return {order.name: GangFailure(cause, of_a_task=True, lasting=False) for order in orders}

    def directory(self, gang: str) -> str:
        return self._below_root(self._run_name(gang))

    def _run_name(self, gang: str) -> str:
        return f"{self.place.name}-{gang}"

    def _carry_out(self, orders: Sequence[GangOrder], listener: GangListener) -> Iterator[tuple[str, str]]:
        for order in orders:
            try:
                run_ranks(
                    tune_rank,
                    {
                        "order": order.model_dump(mode="json"),
                        "shared": self.place.shared,
                        "tracking": ray.put(order.tracking),
                    },
                    name=self._run_name(order.name),
                    root=self.place.root,
                    workers=self._workers,
                    size=self.place.size,
                    checkpoints=CheckpointConfig(num_to_keep=1),
                    heard=partial(listener.on_report, order.name),
                )
            except RanksFailed as error:
                yield order.name, error.said
            listener.on_lanes_ended(order.name)
