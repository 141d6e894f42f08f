"""The second Ray Data stage of tokenizing: clips become units, or features, in the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from orchestrator.cluster.ray_data import Row, answer, compute, write_rows
from orchestrator.recordings.batches import DEATHS_OUTLIVED, KILLS, Meter, failure_of
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from workers.speech.f0 import F0Settings
from workers.speech.feature_cache import FeatureCache
from workers.speech.tokenize_batch import FeatureBatch, Outcome, TokenizeBatch, Work
from workers.speech.tokenizer import Tokenizer, build_tokenizer
from workers.speech.unit_cache import UnitCache

if TYPE_CHECKING:
    import pyarrow
    import ray
    from ray.data import Dataset

_CLIPS_PER_BATCH: Final = 64


def tokenize_jobs(
    jobs: Sequence[Work],
    *,
    tokenizer: Tokenizer,
    cache: tuple[str, str],
    f0: F0Settings | None,
    cpus: float,
    gpus: float,
    workers: int,
    meter: Meter,
    features: bool = False,
) -> list[Outcome]:
    """Compute the units of clips, or their features, in batches of neighbours, and store them.

    Args:
        jobs: distinct clips, longest first.
        tokenizer: tokenizer of the clips.
        cache: root and tokenizer fingerprint of the cache.
        f0: settings of the F0 tracker; ``None``: F0 is not tracked.
        cpus: CPUs per worker.
        gpus: GPUs per worker.
        workers: largest number of workers.
        meter: counter of clips.
        features: whether mean features are computed in place of units.

    Raises:
        StorageError: recordings or the cache cannot be reached.
    """
    import ray
    from ray.data import ActorPoolStrategy

    if not jobs:
        return []
    # One copy in the object store instead of one per worker: HuBERT has 200 MB.
    tensors = ray.put(tokenizer.tensors())
    rows = [
        {
            "key": job.key,
            "audio_sha256": job.audio_sha256,
            "clip": asdict(job.clip),
            "policy": job.policy.model_dump(mode="json"),
        }
        for job in jobs
    ]
    workers = min(workers, len(rows))

    def stage(dataset: Dataset, alone: bool) -> Dataset:
        pool = ActorPoolStrategy(min_size=1, max_size=workers)
        if alone:
            pool = ActorPoolStrategy(size=1, max_tasks_in_flight_per_actor=1)
        return dataset.map_batches(
            _Tokenize,
            fn_constructor_kwargs={
                "config": tokenizer.config(),
                "tensors": tensors,
                "cache": cache,
                "f0": f0,
                "features": features,
                "threads": max(1, int(cpus)),
                "device": "cuda" if gpus else "cpu",
            },
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=cpus,
            num_gpus=gpus or None,
            compute=pool,
            max_task_retries=DEATHS_OUTLIVED,
        )

    blocks = compute(rows, stage, key="key", rows_per_block=_CLIPS_PER_BATCH, workers=workers, done=meter.advance)
    outcomes = [
        Outcome(row["key"], row["shard"], row["seconds"], failure_of(row)) for found, _ in blocks for row in found
    ]
    known = {outcome.key for outcome in outcomes}
    return outcomes + [Outcome(job.key, None, 0.0, KILLS) for job in jobs if job.key not in known]


class _Tokenize:
    """``TokenizeBatch`` or ``FeatureBatch`` as a Ray Data actor."""

    def __init__(
        self,
        *,
        config: Mapping[str, Any],
        tensors: ray.ObjectRef[Mapping[str, NDArray[Any]]],
        cache: tuple[str, str],
        f0: F0Settings | None,
        threads: int,
        device: str,
        features: bool = False,
    ) -> None:
        import ray
        import torch

        torch.set_num_threads(threads)
        tokenizer = build_tokenizer(config, ray.get(tensors)).to(device)
        self._run: Callable[[Sequence[Work]], list[Outcome]]
        if features:
            self._run = FeatureBatch(tokenizer, FeatureCache(*cache))
        else:
            self._run = TokenizeBatch(tokenizer, UnitCache(*cache, f0), f0)

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        return answer(self._tokenize, batch)

    def _tokenize(self, rows: Sequence[Row]) -> pyarrow.Table:
        jobs = [
            Work(row["key"], row["audio_sha256"], Clip(**row["clip"]), AudioPolicy(**row["policy"])) for row in rows
        ]
        return write_rows([asdict(outcome) for outcome in self._run(jobs)])
