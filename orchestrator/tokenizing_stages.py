"""The two Ray Data stages of tokenizing: hashing files, and turning clips into cached units."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from infra.errors import BackboneError, StorageError
from orchestrator.ray_data import Row, drain, json_dataset, read_rows, write_rows
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from workers.speech.audio import RejectedAudio, seconds_of
from workers.speech.tokenize_batch import READERS, Outcome, TokenizeBatch, Work, read_audio
from workers.speech.tokenizer import Tokenizer, build_tokenizer
from workers.speech.unit_cache import Quarantined, UnitCache

if TYPE_CHECKING:
    import pyarrow

Progress = Callable[[int, int], None]

_FILES_PER_BATCH: Final = 128
_CLIPS_PER_BATCH: Final = 64


@dataclass(frozen=True)
class File:
    """An audio file as it was found: its digest and length, or why it could not be read."""

    sha256: str
    seconds: float | None
    failure: Quarantined | None


class Meter:
    """Counts steps towards a total."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total = total
        self._done = 0
        self._progress = progress

    def advance(self, steps: int) -> None:
        self._done += steps
        if self._progress is not None:
            self._progress(self._done, self.total)


def room_for(*, cpus: float, gpus: float) -> int:
    """Workers of that size for which the running cluster has room, at least 1."""
    import ray

    if not ray.is_initialized():
        ray.init()
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    by_cpu = resources.get("CPU", 1.0) // cpus if cpus else math.inf
    by_gpu = resources.get("GPU", 0.0) // gpus if gpus else math.inf
    return max(1, int(min(by_cpu, by_gpu, 1024)))


def hash_files(uris: Sequence[str], *, workers: int, meter: Meter) -> dict[str, File]:
    """Reads every file once.

    Raises:
        StorageError: a location cannot be read.
    """
    dataset = json_dataset([{"uri": uri} for uri in uris], rows_per_block=_FILES_PER_BATCH, workers=workers)
    dataset = dataset.map_batches(_hash_batch, batch_size=None, batch_format="pyarrow")
    files: dict[str, File] = {}
    for block in drain(dataset, done=meter.advance):
        for row in checked_rows(block):
            failure = Quarantined(**row["failure"]) if row["failure"] else None
            files[row["uri"]] = File(row["sha256"], row["seconds"], failure)
    return files


def _hash_batch(batch: pyarrow.Table) -> pyarrow.Table:
    with ThreadPoolExecutor(READERS) as pool:
        return write_rows(list(pool.map(_hash_file, (row["uri"] for row in read_rows(batch)))))


def _hash_file(uri: str) -> Row:
    row: Row = {"uri": uri, "sha256": "", "seconds": None, "failure": None}
    try:
        data = read_audio(uri)
    except RejectedAudio as rejection:
        return row | {"failure": {"kind": rejection.kind, "detail": rejection.detail}}
    except StorageError as error:
        return row | {"error": str(error)}
    return row | {"sha256": hashlib.sha256(data).hexdigest(), "seconds": seconds_of(data)}


def tokenize_jobs(
    jobs: Sequence[Work],
    *,
    tokenizer: Tokenizer,
    cache: tuple[str, str],
    cpus: float,
    gpus: float,
    workers: int,
    meter: Meter,
) -> list[Outcome]:
    """Tokenizes clips, in neighbouring batches as they come, and stores their units.

    Args:
        jobs: distinct clips, the longest first.
        tokenizer: audio to units.
        cache: root and tokenizer fingerprint of the unit cache.
        cpus: per worker.
        gpus: per worker.
        workers: how many at most.
        meter: told of each clip.

    Raises:
        StorageError: audio or cache cannot be reached.
    """
    from ray.data import ActorPoolStrategy

    if not jobs:
        return []
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
    dataset = json_dataset(rows, rows_per_block=_CLIPS_PER_BATCH, workers=workers).map_batches(
        _Tokenize,
        fn_constructor_kwargs={
            "config": tokenizer.config(),
            "tensors": tokenizer.tensors(),
            "cache": cache,
            "threads": max(1, int(cpus)),
            "device": "cuda" if gpus else "cpu",
        },
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=cpus,
        num_gpus=gpus or None,
        compute=ActorPoolStrategy(min_size=1, max_size=workers),
    )
    outcomes = []
    for block in drain(dataset, done=meter.advance):
        for row in checked_rows(block):
            failure = Quarantined(**row["failure"]) if row["failure"] else None
            outcomes.append(Outcome(row["key"], row["shard"], row["seconds"], failure))
    return outcomes


class _Tokenize:
    """``TokenizeBatch`` as an actor of Ray Data."""

    def __init__(
        self,
        *,
        config: Mapping[str, Any],
        tensors: Mapping[str, NDArray[Any]],
        cache: tuple[str, str],
        threads: int,
        device: str,
    ) -> None:
        import torch

        torch.set_num_threads(threads)
        self._run = TokenizeBatch(build_tokenizer(config, tensors).to(device), UnitCache(*cache))

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        jobs = [
            Work(row["key"], row["audio_sha256"], Clip(**row["clip"]), AudioPolicy(**row["policy"]))
            for row in read_rows(batch)
        ]
        try:
            return write_rows([asdict(outcome) for outcome in self._run(jobs)])
        except (StorageError, BackboneError) as error:
            return write_rows([{"error": str(error)}])


def checked_rows(block: pyarrow.Table) -> list[Row]:
    """Rows of a block.

    An error comes as a row, since Ray would wrap an exception in pages of its own traceback.

    Raises:
        StorageError: a worker met it.
    """
    rows = read_rows(block)
    for row in rows:
        if row.get("error"):
            raise StorageError(row["error"])
    return rows
