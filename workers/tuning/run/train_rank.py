"""The Ray Train worker function of tuning: one rank of a gang that several workers tune together, resumable."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import torch
from ray import train
from ray.train.torch import get_device

from infra.json_log import log_as_json
from infra.tracking import Tracking
from workers.backbone.sharing import SharedLM
from workers.tuning.orders import GangOrder
from workers.tuning.run.session import GangSession
from workers.tuning.run.watch import GangWatch, Gauges
from workers.tuning.step.process_group import Ranks


def tune_rank(config: dict[str, Any]) -> None:
    """Carry out an order together with the other ranks; a checkpoint and a report at every evaluation.

    Args:
        config: ``order``, a ``GangOrder`` as JSON values, ``shared``, a reference to the LM, ``tracking``, one to the
            whole tracking URI, and ``queue``, which hears each ``GangReport``.
    """
    order = GangOrder.model_validate(config["order"]).model_copy(update={"tracking": ray.get(config["tracking"])})
    context = train.get_context()
    ranks = Ranks(context.get_world_rank(), context.get_world_size())
    device = get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(order.cpus)))
    shared: SharedLM = ray.get(config["shared"])
    shared.verify()
    # The first rank alone writes; all the others know the same.
    first, tracking, watch = ranks.rank == 0, None, None
    if first:
        log_as_json()
        tracking = Tracking(order.tracking, Path(order.spool))
        watch = GangWatch(order, device=device.type, gauges=Gauges(), frozen=shared.size)
    session = GangSession(order, lm=shared.attach(device), shared=shared, tracking=tracking, ranks=ranks, watch=watch)
    try:
        checkpoint = train.get_checkpoint()
        session.take_up([] if checkpoint is None else [checkpoint.as_directory])
        while not session.done:
            report = session.step()
            if not first:
                train.report(asdict(report))
                continue
            config["queue"].put(report)
            with tempfile.TemporaryDirectory() as directory:
                session.save(Path(directory))
                train.report(asdict(report), checkpoint=train.Checkpoint.from_directory(directory))
    finally:
        session.close()
