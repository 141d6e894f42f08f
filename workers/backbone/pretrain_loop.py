"""The Ray Train worker function of pretraining: one rank, resumable."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from ray import train
from ray.train.torch import get_device, prepare_model
from ray.util.queue import Queue
from safetensors.numpy import load, save
from safetensors.torch import load_file, save_file
from torch import Tensor

from infra import object_storage
from infra.tracking import Tracking
from infra.tracking.address import Address
from workers.backbone.lm_kinds import LMConfig, build_lm
from workers.backbone.pretrain import Pretraining, PretrainSettings
from workers.backbone.unit_lm import UnitLM
from workers.sequences import UnitSequences


class PretrainOrder(BaseModel):
    """All that a rank is told.

    Attributes:
        config: sizes of the unit LM.
        unit_tokens: token id of each unit.
        units: URI of the safetensors file of unit sequences.
        experiment, run_name, key, tracking, spool: of the MLflow run, which rank 0 keeps.
        cpus: threads to compute with.
    """

    model_config = ConfigDict(frozen=True)

    config: LMConfig
    settings: PretrainSettings
    unit_tokens: tuple[int, ...]
    units: str
    experiment: str
    run_name: str
    key: str
    tracking: Address
    spool: str
    cpus: float


LM_FILE, STATE_FILE, PROGRESS_FILE = "lm.safetensors", "optimizer.safetensors", "progress.json"


def pretrain_rank(config: dict[str, Any]) -> None:
    """Train until done; a checkpoint and a report at every evaluation.

    Args:
        config: ``order``, a ``PretrainOrder`` as JSON values, ``tracking``, a reference to the whole tracking URI, and
            ``queue``, which hears step, steps and perplexity.
    """
    order = PretrainOrder.model_validate(config["order"]).model_copy(update={"tracking": ray.get(config["tracking"])})
    context = train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(order.cpus)))
    lm = build_lm(order.config, dropout=order.settings.dropout)
    lm.initialise(order.settings.seed)
    lm.to(device)
    run = Pretraining(
        lm,
        order.settings,
        train=read_sequences(order.units, "train"),
        valid=read_sequences(order.units, "valid"),
        unit_tokens=np.array(order.unit_tokens, dtype=np.int64),
        wrap=prepare_model if world > 1 else None,
        rank=rank,
        world=world,
    )
    checkpoint = train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            load_pretraining(run, Path(directory))
    if rank == 0:
        with Tracking(order.tracking, Path(order.spool)) as tracking:
            _loop(run, order, tracking, config["queue"])
    else:
        _loop(run, order, None, None)


def _loop(run: Pretraining, order: PretrainOrder, tracking: Tracking | None, queue: Queue | None) -> None:
    settings = order.settings
    log = None
    if tracking is not None:
        params = {**settings.model_dump(), **order.config.model_dump(mode="json"), "parameters": _size(run.lm)}
        log = tracking.run(order.experiment, order.run_name, key=order.key, params=params)
    losses: list[Tensor] = []
    while not run.finished:
        losses.append(run.advance())
        if run.step % settings.evaluate_every and run.step != settings.steps:
            continue
        loss, figures = float(torch.stack(losses).mean()), run.validate()
        losses.clear()
        run.best.judge(run.step, figures["perplexity"])
        if log is not None:
            log.point(
                run.step,
                {
                    "pretraining/train_loss": loss,
                    **{f"pretraining/valid_{name}": value for name, value in figures.items()},
                    "pretraining/learning_rate": settings.rate(run.step - 1),
                },
            )
        if queue is not None:
            queue.put((run.step, settings.steps, figures["perplexity"]))
        _report(run, {"step": run.step, "loss": loss, "perplexity": figures["perplexity"]})
        if not math.isfinite(figures["perplexity"]):
            # Numbers that are lost do not come back.
            break
    if log is not None:
        log.tags({"best_step": run.best.step})
        log.finish("FINISHED" if math.isfinite(run.best.perplexity) else "FAILED")


def _report(run: Pretraining, figures: dict[str, float]) -> None:
    if run.rank:
        train.report(figures)
        return
    with tempfile.TemporaryDirectory() as directory:
        save_pretraining(run, Path(directory))
        train.report(figures, checkpoint=train.Checkpoint.from_directory(directory))


def save_pretraining(run: Pretraining, directory: Path) -> None:
    """The state of a run, without pickling; the same on every rank."""
    state = run.state()
    save_file(state["lm"], directory / LM_FILE)
    optimizer = state["optimizer"]
    tensors = {
        f"{index}.{name}": tensor if tensor.dim() else tensor.reshape(1)
        for index, entry in optimizer["state"].items()
        for name, tensor in entry.items()
    }
    save_file(tensors, directory / STATE_FILE)
    progress = {name: state[name] for name in ("step", "epoch", "position", "best")}
    (directory / PROGRESS_FILE).write_text(json.dumps(progress))


def load_pretraining(run: Pretraining, directory: Path) -> None:
    """Continue where ``save_pretraining`` was called."""
    tensors = load_file(directory / STATE_FILE)
    optimizer = run.optimizer.state_dict()
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, field = name.partition(".")
        entries.setdefault(int(index), {})[field] = tensor.reshape(()) if field == "step" else tensor
    optimizer["state"] = entries
    progress = json.loads((directory / PROGRESS_FILE).read_text())
    run.restore({"lm": load_file(directory / LM_FILE), "optimizer": optimizer, **progress})


def read_sequences(uri: str, split: str) -> UnitSequences:
    """The unit sequences of one split from a file that ``write_sequences`` made."""
    prefix = f"{split}."
    tensors = load(object_storage.read_bytes(uri)).items()
    return UnitSequences.from_arrays({name.removeprefix(prefix): a for name, a in tensors if name.startswith(prefix)})


def write_sequences(uri: str, splits: dict[str, UnitSequences]) -> None:
    """Store unit sequences by split."""
    object_storage.write_bytes(uri, save(split_arrays(splits)))


def split_arrays(splits: dict[str, UnitSequences]) -> dict[str, NDArray[Any]]:
    """The arrays of several splits under ``<split>.<name>``."""
    return {f"{split}.{name}": array for split, part in splits.items() for name, array in part.arrays().items()}


def _size(lm: UnitLM) -> int:
    return sum(parameter.numel() for parameter in lm.parameters())
