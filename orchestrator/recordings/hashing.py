"""The first Ray Data stage of tokenizing: every file is read and hashed. Its workers never import torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.cluster.ray_data import Row, answer, compute, write_rows
from orchestrator.recordings.batches import DEATHS_OUTLIVED, KILLS, Meter, failure_of
from workers.speech.audio import RejectedAudio, seconds_of
from workers.speech.reading import READERS, read_audio
from workers.speech.unit_cache import Quarantined

if TYPE_CHECKING:
    import pyarrow

_FILES_PER_BATCH: Final = 128


@dataclass(frozen=True)
class File:
    """Digest and length of an audio file, or why it cannot be read."""

    sha256: str
    seconds: float | None
    failure: Quarantined | None


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
