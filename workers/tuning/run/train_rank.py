"""The Ray Train worker function of tuning: one rank of a gang that several workers tune together, resumable."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ray
import torch
from ray import train
from ray.train.torch import get_device

from infra.errors import DamagedFile, ObjectNotFound
from infra.json_log import log_as_json
from infra.tracking import Tracking
from workers.backbone.sharing import SharedLM
from workers.tuning.orders import GangOrder
from workers.tuning.run.gang_run import GangRun
from workers.tuning.run.watch import GangWatch, Gauges
from workers.tuning.step.process_group import Ranks


def tune_rank(config: dict[str, Any]) -> None:
    """Carry out an order together with the other ranks; a checkpoint and a report at every evaluation.

    Args:
        config: ``order``, a ``GangOrder`` as JSON values, ``shared``, a reference to the LM, ``tracking``, one to the
            whole tracking URI, and ``queue``, which hears the reports.
    """
    order = GangOrder.model_validate(config["order"]).model_copy(update={"tracking": ray.get(config["tracking"])})
    context = train.get_context()
    ranks = Ranks(context.get_world_rank(), context.get_world_size())
    device = get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(order.cpus)))
    shared: SharedLM = ray.get(config["shared"])
    shared.verify()
    lm = shared.attach(device)
    # The first rank alone writes; all the others know the same.
    with Tracking(order.tracking, Path(order.spool)) if ranks.rank == 0 else nullcontext() as tracking:
        run = GangRun(order, lm=lm, shared=shared, tracking=tracking, ranks=ranks)
        note = _take_up(run, ranks, device)
        if note is not None:
            run = GangRun(order, lm=lm, shared=shared, tracking=tracking, ranks=ranks)
        watch = None
        if tracking is not None:
            log_as_json()
            watch = GangWatch(order, device=device.type, gauges=Gauges(), frozen=shared.size)
        while not run.done:
            report = run.step()
            if watch is not None and tracking is not None:
                config["queue"].put(report if note is None else report | {"note": note})
                note = None
                unsent = tracking.unsent().events
                watch.report(run.lane_statuses(), width=run.width, done=run.done, unsent=unsent)
            _report(run, report, ranks)
            if watch is not None:
                watch.saved()


def _take_up(run: GangRun, ranks: Ranks, device: torch.device) -> str | None:
    """Go on from the newest checkpoint, if there is one; returns why all ranks have to begin again, if they have."""
    checkpoint = train.get_checkpoint()
    if checkpoint is None:
        return None
    wrong = ""
    try:
        with checkpoint.as_directory() as directory:
            run.load(Path(directory))
    except (FileNotFoundError, ObjectNotFound, DamagedFile) as error:
        wrong = str(error)
    refused = ranks.add(torch.tensor([bool(wrong)], dtype=torch.int64, device=device)).item()
    return wrong or "a worker could not read the checkpoint; its gang begins again" if refused else None


def _report(run: GangRun, report: dict[str, Any], ranks: Ranks) -> None:
    if ranks.rank:
        train.report(report)
        return
    with tempfile.TemporaryDirectory() as directory:
        run.save(Path(directory))
        train.report(report, checkpoint=train.Checkpoint.from_directory(directory))
