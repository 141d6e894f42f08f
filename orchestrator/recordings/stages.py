"""The two Ray Data stages of tokenizing: hashing files, and tokenizing clips into the unit cache."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from orchestrator.cluster.ray_data import Row, answer, compute, write_rows
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from workers.speech.audio import RejectedAudio, seconds_of
from workers.speech.f0 import F0Settings
from workers.speech.feature_cache import FeatureCache
from workers.speech.tokenize_batch import READERS, FeatureBatch, Outcome, TokenizeBatch, Work, read_audio
from workers.speech.tokenizer import Tokenizer, build_tokenizer
from workers.speech.unit_cache import Quarantined, UnitCache

if TYPE_CHECKING:
    import pyarrow
    import ray
    from ray.data import Dataset

Progress = Callable[[int, int], None]

_FILES_PER_BATCH: Final = 128
_CLIPS_PER_BATCH: Final = 64
DEATHS_OUTLIVED: Final = 1
"""Number of times that Ray repeats a batch whose worker died, which may have other causes than the batch."""
KILLS: Final = Quarantined(
    "fatal", "the process that read it died more than once while reading nothing else; remove its row"
)
"""Reason for a file that kills every worker that reads it."""


@dataclass(frozen=True)
class File:
    """Digest and length of an audio file, or why it cannot be read."""

    sha256: str
    seconds: float | None
    failure: Quarantined | None


class Meter:
    """Counter of steps towards a total."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total = total
        self._done = 0
        self._progress = progress

    def advance(self, steps: int) -> None:
        self._done += steps
        if self._progress is not None:
            self._progress(self._done, self.total)


def room_for(*, cpus: float, gpus: float) -> int:
    """Return the number of workers of a size that fit the connected cluster, at least 1."""
    import ray

    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    by_cpu = resources.get("CPU", 1.0) // cpus if cpus else math.inf
    by_gpu = resources.get("GPU", 0.0) // gpus if gpus else math.inf
    return max(1, int(min(by_cpu, by_gpu, 1024)))


def hash_files(uris: Sequence[str], *, workers: int, meter: Meter) -> dict[str, File]:
    """Read and hash every file once.

    Raises:
        StorageError: a location cannot be read.
    """
    blocks = compute(
        [{"uri": uri} for uri in uris],
        lambda dataset, _: dataset.map_batches(
            _hash_batch, batch_size=None, batch_format="pyarrow", max_retries=DEATHS_OUTLIVED
        ),
        key="uri",
        rows_per_block=_FILES_PER_BATCH,
        workers=workers,
        done=meter.advance,
    )
    files = {row["uri"]: File(row["sha256"], row["seconds"], failure_of(row)) for rows, _ in blocks for row in rows}
    return files | {uri: File("", None, KILLS) for uri in uris if uri not in files}


def failure_of(row: Row) -> Quarantined | None:
    """Return why a clip cannot be used, from a worker's row; ``None`` if it can."""
    return Quarantined(**row["failure"]) if row["failure"] else None


def _hash_batch(batch: pyarrow.Table) -> pyarrow.Table:
    return answer(_hash_rows, batch)


def _hash_rows(rows: Sequence[Row]) -> pyarrow.Table:
    with ThreadPoolExecutor(READERS) as pool:
        return write_rows(list(pool.map(_hash_file, (row["uri"] for row in rows))))


def _hash_file(uri: str) -> Row:
    row: Row = {"uri": uri, "sha256": "", "seconds": None, "failure": None}
    try:
        data = read_audio(uri)
    except RejectedAudio as rejection:
        return row | {"failure": {"kind": rejection.kind, "detail": rejection.detail}}
    return row | {"sha256": hashlib.sha256(data).hexdigest(), "seconds": seconds_of(data)}


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
