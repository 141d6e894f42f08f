"""The Ray Train worker function of pretraining: one rank, resumable."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
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
from safetensors.numpy import save
from safetensors.torch import load_file, save_file
from torch import Tensor

from infra import object_storage
from infra.digest import fingerprint
from infra.errors import DamagedFile, ObjectNotFound
from infra.tracking import Tracking
from infra.tracking.address import Address
from workers.job_store.checkpoint import check_checkpoint, seal_checkpoint
from workers.job_store.files import PRETRAINING, SEQUENCES
from workers.speech.sequences import UnitSequences
from workers.unit_lm.kinds import LMConfig, build_lm
from workers.unit_lm.pretraining import Pretraining, PretrainSettings
from workers.unit_lm.unit_lm import UnitLM
from workers.untrusted.tensor_file import parse_tensors


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
    sequences = read_sequences(order.units)
    run = Pretraining(
        lm,
        order.settings,
        train=sequences["train"],
        valid=sequences["valid"],
        unit_tokens=np.array(order.unit_tokens, dtype=np.int64),
        wrap=prepare_model if world > 1 else None,
        rank=rank,
        world=world,
    )
    checkpoint = train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            load_pretraining(run, Path(directory), order.key)
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
        _report(run, order.key, {"step": run.step, "loss": loss, "perplexity": figures["perplexity"]})
        if not math.isfinite(figures["perplexity"]):
            # Numbers that are lost do not come back.
            break
    if log is not None:
        log.tags({"best_step": run.best.step})
        log.finish("FINISHED" if math.isfinite(run.best.perplexity) else "FAILED")


def _report(run: Pretraining, key: str, figures: dict[str, float]) -> None:
    if run.rank:
        train.report(figures)
        return
    with tempfile.TemporaryDirectory() as directory:
        save_pretraining(run, Path(directory), key)
        train.report(figures, checkpoint=train.Checkpoint.from_directory(directory))


def save_pretraining(run: Pretraining, directory: Path, key: str) -> None:
    """The state of the run that is known by ``key``, without pickling; the same on every rank."""
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
    seal_checkpoint(directory, (LM_FILE, STATE_FILE, PROGRESS_FILE), key)


def load_pretraining(run: Pretraining, directory: Path, key: str) -> None:
    """Continue where ``save_pretraining`` was called.

    Raises:
        DamagedFile: as ``read_progress``.
    """
    progress = read_progress(directory, key)
    tensors = load_file(directory / STATE_FILE)
    optimizer = run.optimizer.state_dict()
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, field = name.partition(".")
        entries.setdefault(int(index), {})[field] = tensor.reshape(()) if field == "step" else tensor
    optimizer["state"] = entries
    run.restore({"lm": load_file(directory / LM_FILE), "optimizer": optimizer, **progress})


def read_progress(directory: Path, key: str) -> dict[str, Any]:
    """How far a run was at a checkpoint, whose files are what they were.

    Raises:
        DamagedFile: a file is altered or missing, or the checkpoint is of another run.
    """
    try:
        check_checkpoint(directory, key, PRETRAINING)
    except ObjectNotFound as error:
        # Ray Train names a checkpoint when it is whole.
        raise PRETRAINING.damaged(str(directory), "is not whole") from error
    progress: dict[str, Any] = json.loads((directory / PROGRESS_FILE).read_text())
    return progress


def read_sequences(uri: str) -> dict[str, UnitSequences]:
    """The unit sequences by split of a file that ``write_sequences`` made.

    Raises:
        DamagedFile: it does not hold what its name says.
        StorageError: it cannot be read.
    """
    splits: dict[str, dict[str, NDArray[Any]]] = {}
    try:
        for name, array in parse_tensors(object_storage.read_own(uri, limit=SEQUENCES.limit)).items():
            split, _, part = name.partition(".")
            splits.setdefault(split, {})[part] = array
        sequences = {split: UnitSequences.from_arrays(arrays) for split, arrays in splits.items()}
    except (ValueError, KeyError, DamagedFile) as error:
        raise SEQUENCES.damaged(uri, "is not a file of unit sequences") from error
    if object_storage.basename(uri) != _sequences_name(sequences):
        raise SEQUENCES.damaged(uri, "is not what its name says")
    return sequences


def write_sequences(root: str, splits: Mapping[str, UnitSequences]) -> str:
    """Store unit sequences by split, under the digest of all of them; returns the file's place."""
    place = object_storage.join(root, _sequences_name(splits))
    object_storage.write_addressed(place, save(_split_arrays(splits)))
    return place


def _sequences_name(splits: Mapping[str, UnitSequences]) -> str:
    return f"{fingerprint({}, _split_arrays(splits))}.safetensors"


def _split_arrays(splits: Mapping[str, UnitSequences]) -> dict[str, NDArray[Any]]:
    """The arrays of several splits under ``<split>.<name>``."""
    return {f"{split}.{name}": array for split, part in splits.items() for name, array in part.arrays().items()}


def _size(lm: UnitLM) -> int:
    return sum(parameter.numel() for parameter in lm.parameters())
