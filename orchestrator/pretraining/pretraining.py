"""Pretraining of a backbone on unlabelled speech: fit the tokenizer, tokenize, train the unit LM on Ray Train, store
it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from numpy.typing import NDArray
from ray.train import CheckpointConfig, Result
from safetensors.numpy import load_file

from infra import object_storage
from infra.digest import canonical_json
from infra.errors import BackboneError, InvalidInputs, Problem, RayFailed, TrackingUnreachable, TuningError
from infra.tracking import check
from orchestrator.cluster.failures import lost_with_its_worker
from orchestrator.cluster.ray_train import run_ranks
from orchestrator.cluster.session import actor_size
from orchestrator.job_files import spool_directory
from orchestrator.pretraining.file import BorrowedTokenizer, PretrainFile
from orchestrator.pretraining.units import unit_sequences
from orchestrator.progress import ProgressView, Stage
from orchestrator.recordings.feature_sampling import sample_features
from task_specs.dataset import Dataset, read_dataset
from task_specs.problems import shown
from task_specs.schema import TaskSpec, load_task_specs
from workers.backbone.directory import BACKBONE_FILE, Backbone, read_description, read_tokenizer, write_backbone
from workers.speech.external import ExternalConfig
from workers.speech.mfcc import MfccConfig, MfccTokenizer, fit_from_features
from workers.speech.sequences import UnitSequences
from workers.speech.tokenizer import Tokenizer, tokenizer_of
from workers.unit_lm.pretrain_rank import LM_FILE, PretrainOrder, pretrain_rank, read_progress, write_sequences
from workers.unit_lm.pretraining import BestPerplexity

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Pretrained:
    """A pretrained backbone.

    Attributes:
        uri: directory of the backbone.
        perplexity: validation perplexity per unit.
        best_step: step of the weights.
        steps: number of steps taken.
    """

    uri: str
    perplexity: float
    best_step: int
    steps: int


@dataclass(frozen=True)
class _Trained:
    """Weights of the best validation perplexity, that perplexity, its step, and the number of steps taken."""

    tensors: dict[str, NDArray[np.float32]]
    perplexity: float
    best_step: int
    steps: int


def pretrain_backbone(described: PretrainFile, view: ProgressView) -> Pretrained:
    """Pretrain the backbone that a file describes; an interrupted training goes on from its last checkpoint.

    Raises:
        InvalidInputs: the task specs or their data have problems; it lists all of them.
        BackboneError: ``out`` already holds a backbone, or tokenizer settings are wrong.
        TuningError: training failed.
        RayFailed: a worker's process ended.
    """
    if object_storage.exists(object_storage.join(described.out, BACKBONE_FILE)):
        raise BackboneError(f"{described.source}: out: {described.out} already holds a backbone; choose another place")
    try:
        check(described.tracking, experiment=experiment_of(described))
    except TrackingUnreachable as error:
        view.line(f"note: {error}; the run is kept on disk until it answers")
    tasks = _read_tasks(described)
    tokenizer = _make_tokenizer(described, tasks, view)
    sequences = unit_sequences(described, tasks, tokenizer, view)
    order, name = _order(described, tokenizer, sequences)
    trained = _train(described, order, name, view)
    backbone = Backbone(
        name=described.name,
        config=order.config,
        lm_tensors=trained.tensors,
        unit_tokens=order.unit_tokens,
        tokenizer=tokenizer,
        licence=described.licence,
    )
    write_backbone(backbone, described.out)
    return Pretrained(described.out, trained.perplexity, trained.best_step, trained.steps)


def experiment_of(described: PretrainFile) -> str:
    """Return the MLflow experiment of a backbone's pretraining."""
    return f"{described.name}-pretraining"


def _read_tasks(described: PretrainFile) -> list[tuple[TaskSpec, Dataset]]:
    base = object_storage.parent(described.source)
    specs, problems = load_task_specs(described.tasks, base, named_in=described.source)
    tasks: list[tuple[TaskSpec, Dataset]] = []
    for spec in specs:
        try:
            tasks.append((spec, read_dataset(spec)))
        except InvalidInputs as error:
            problems += error.problems
    audio = [spec for spec, dataset in tasks if dataset.audio]
    if isinstance(described.tokenizer, MfccConfig) and not audio and not problems:
        message = "is 'mfcc', but no task has audio to fit it on"
        remedy = "write kind: external and the name of the tokenizer that made the units"
        problems.append(Problem(shown(described.source), "tokenizer.kind", message, remedy))
    if isinstance(described.tokenizer, ExternalConfig) and audio:
        message = f"is 'external', but task {audio[0].name!r} has audio"
        problems.append(Problem(shown(described.source), "tokenizer.kind", message, "write kind: mfcc"))
    if problems:
        raise InvalidInputs(problems)
    return tasks


def _make_tokenizer(
    described: PretrainFile, tasks: Sequence[tuple[TaskSpec, Dataset]], view: ProgressView
) -> Tokenizer:
    config = described.tokenizer
    if isinstance(config, BorrowedTokenizer):
        return read_tokenizer(config.uri, read_description(config.uri))
    if not isinstance(config, MfccConfig):
        return tokenizer_of(config)
    clips = [example.clip for _, dataset in tasks for example in dataset.split("train") if example.clip is not None]
    with view.stage("fitting the tokenizer") as stage:
        sampled = sample_features(clips, config=config, seed=described.training.seed, progress=stage.update)
        return ray.get(_fit.remote(sampled.features, config, described.training.seed))


@ray.remote(num_cpus=1)
def _fit(features: NDArray[np.float32], config: MfccConfig, seed: int) -> MfccTokenizer:
    return fit_from_features(features, config, seed=seed)


def _order(
    described: PretrainFile, tokenizer: Tokenizer, sequences: dict[str, UnitSequences]
) -> tuple[PretrainOrder, str]:
    """Return the order for the ranks, and the name by which an interrupted training is found again."""
    root = object_storage.join(described.storage, described.name)
    place = write_sequences(object_storage.join(root, "units"), sequences)
    config, unit_tokens = described.unit_lm.lm_config(tokenizer.units, sequences["train"])
    content = {
        "unit_lm": described.unit_lm.model_dump(mode="json"),
        "training": described.training.model_dump(mode="json"),
        "units": object_storage.basename(place).removesuffix(".safetensors"),
    }
    name = f"pretrain-{hashlib.sha256(canonical_json(content)).hexdigest()[:16]}"
    size = actor_size(described.resources)
    order = PretrainOrder(
        config=config,
        settings=described.training,
        unit_tokens=unit_tokens,
        units=place,
        experiment=experiment_of(described),
        run_name=f"{config.kind} {config.layers}x{config.dim} s{described.training.seed}",
        key=f"{described.name}/{name}",
        tracking=described.tracking,
        spool=spool_directory(root, described.name),
        cpus=size.cpus,
    )
    return order, name


def _train(described: PretrainFile, order: PretrainOrder, name: str, view: ProgressView) -> _Trained:
    """Train, or resume a training of this name.

    Raises:
        TuningError: training failed or diverged.
        RayFailed: a worker's process ended.
    """
    with view.stage("pretraining") as stage:
        try:
            result = run_ranks(
                pretrain_rank,
                {"order": order.model_dump(mode="json"), "tracking": ray.put(order.tracking)},
                name=name,
                root=object_storage.join(described.storage, described.name),
                workers=described.resources.workers or 1,
                size=actor_size(described.resources),
                # Train keeps the best checkpoint and always the latest, from which an interrupted training goes on.
                checkpoints=CheckpointConfig(
                    num_to_keep=1, checkpoint_score_attribute="perplexity", checkpoint_score_order="min"
                ),
                heard=lambda report: _show(report, stage),
            )
        except TuningError as error:
            if lost_with_its_worker(str(error)):
                raise RayFailed(f"pretraining: {error}; run the command again, and it goes on") from error
            raise TuningError(
                f"{described.source}: pretraining failed ({error}); correct it, and run the command again to continue"
            ) from error
    return _best(result, described, order.key)


def _show(report: tuple[int, int, float], stage: Stage) -> None:
    step, steps, perplexity = report
    stage.update(step, steps, f"perplexity {perplexity:.2f}")


def _best(result: Result, described: PretrainFile, key: str) -> _Trained:
    """Return the best weights by the perplexities in the checkpoints, since Ray's record of them is not verified.

    Raises:
        TuningError: training diverged.
        DamagedFile: a checkpoint is damaged.
    """
    # The last step always reports a checkpoint.
    assert result.best_checkpoints  # noqa: S101
    assert result.checkpoint is not None  # noqa: S101
    # The latest checkpoint need not be among the best.
    with result.checkpoint.as_directory() as directory:
        steps = read_progress(Path(directory), key)["step"]
    best = None
    for checkpoint, _ in result.best_checkpoints:
        with checkpoint.as_directory() as directory:
            progress = read_progress(Path(directory), key)
            judged = BestPerplexity(**progress["best"])
            if judged.step == progress["step"] and (best is None or judged.perplexity < best.perplexity):
                best = _Trained(load_file(Path(directory) / LM_FILE), judged.perplexity, judged.step, steps)
    if best is None:
        rate = described.training.learning_rate
        raise TuningError(f"{described.source}: training.learning_rate: pretraining diverged at {rate:g}; lower it")
    return best
