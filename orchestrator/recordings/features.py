"""Continuous features of the tasks' recordings, computed by Ray Data after tokenizing, for baselines that need them."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.cluster.session import actor_size
from orchestrator.plan import Plan, PlannedTask
from orchestrator.progress import ProgressView
from orchestrator.recordings.batches import Meter, room_for
from orchestrator.recordings.encoding import tokenize_jobs
from orchestrator.recordings.examples import clip_requests
from orchestrator.recordings.tokenizing import ClipRequest, TokenizingReport
from task_specs.example import SPLITS, Split
from task_specs.table_audio import reading_order
from workers.backbone.directory import read_tokenizer
from workers.baselines.kinds import BASELINES
from workers.baselines.order import FeatureKeys
from workers.speech.feature_cache import FeatureCache
from workers.speech.tokenize_batch import Outcome
from workers.speech.tokenizer import OffersFeatures


def task_features(plan: Plan, tokenized: TokenizingReport, view: ProgressView) -> dict[str, FeatureKeys]:
    """Compute the features that the cache does not hold, if a baseline of the job needs any.

    Returns:
        Where the features of each task's examples are; of no task whose units came with the data, or if the tokenizer
        offers no features.

    Raises:
        StorageError: recordings or the cache cannot be reached.
    """
    if not any(BASELINES[kind].needs_features for kind in plan.job.baselines):
        return {}
    root, fingerprint = plan.job.units, plan.backbone.fingerprints.tokenizer
    keys = {task.spec.name: _keys(task, tokenized) for task in plan.tasks}
    wanted = {request: None for task in plan.tasks for request in clip_requests(task) if request in tokenized.units}
    if not wanted or not _compute(plan, list(wanted), tokenized, view):
        return {}
    return {
        task: FeatureKeys(root=root, tokenizer=fingerprint, splits=found)
        for task, found in keys.items()
        if found is not None
    }


def _compute(plan: Plan, wanted: Sequence[ClipRequest], tokenized: TokenizingReport, view: ProgressView) -> bool:
    """Return whether the tokenizer offers features."""
    tokenizer = read_tokenizer(plan.job.backbone, plan.backbone)
    if not isinstance(tokenizer, OffersFeatures):
        return False
    size, place = actor_size(plan.job.resources), (plan.job.units, plan.backbone.fingerprints.tokenizer)
    cache = FeatureCache(*place)
    distinct = {tokenized.works[request].key: request for request in wanted}
    known = cache.known(distinct)
    # Rows of a table that are close together are read together; all other clips are ordered by length.
    missing = sorted(
        distinct.keys() - known,
        key=lambda key: (
            reading_order(distinct[key].clip.uri, 64),
            -int(tokenized.units[distinct[key]].durations.sum()),
            key,
        ),
    )
    gpus = size.gpus if tokenizer.gains_from_gpu else 0.0
    outcomes: list[Outcome] = []
    if missing:
        with view.stage("features") as stage:
            outcomes = tokenize_jobs(
                [tokenized.works[distinct[key]] for key in missing],
                tokenizer=tokenizer,
                cache=place,
                f0=None,
                cpus=1.0,
                gpus=gpus,
                workers=room_for(cpus=1.0, gpus=gpus),
                meter=Meter(len(missing), stage.update),
                features=True,
            )
    for outcome in outcomes:
        if outcome.failure is not None:
            view.line(f"  no features of {distinct[outcome.key].clip.uri}: {outcome.failure}")
    for line in cache.remove_damaged():
        view.line(line)
    computed = sum(outcome.shard is not None for outcome in outcomes)
    view.line(f"features of {len(distinct):,} clips: {computed:,} computed, {len(known):,} from the cache")
    return True


def _keys(task: PlannedTask, tokenized: TokenizingReport) -> dict[Split, tuple[str, ...]] | None:
    """Return the keys of the examples of each split, in the order in which they are encoded; ``None`` if an example is
    no recording."""
    splits: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for example in task.dataset.examples:
        if example.clip is None:
            return None
        request = ClipRequest(example.clip, task.spec.audio)
        if request in tokenized.units:
            splits[example.split].append(tokenized.works[request].key)
    return {split: tuple(keys) for split, keys in splits.items()}
