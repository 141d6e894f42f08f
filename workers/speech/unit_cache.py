"""Units of clips that were tokenized before, by content.

    <root>/<tokenizer fingerprint>[-<digest of the F0 settings>]/<digest of the shard>.parquet

with the columns key, units, durations, windows, f0, voiced_count, log_f0_total, log_f0_squares, kind, detail; those of
pitch are null, or absent in older shards, where no F0 settings are given, and so are windows where nothing was cut.

A shard is written once, whole, and never changed: any number of workers write and read at the same time, and
a killed run leaves only complete shards behind. One that is not what its name says is as good as absent: its clips are
tokenized again. A clip that cannot be used is remembered, with the kind and detail of
its reason; of a clip that has units, detail is what a user should know of them.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from infra import object_storage
from infra.errors import DamagedFile, MissingExtra, ObjectNotFound, StorageError
from task_specs.audio_policy import AudioPolicy
from workers.job_store.files import UNIT_SHARD
from workers.speech.f0 import F0Settings
from workers.speech.prosody import Pitch, PitchStatistics
from workers.speech.units import Units

if TYPE_CHECKING:
    import pyarrow

# Raised when decoding or the policy changes what comes out of the same bytes.
_PREPROCESSING_VERSION: Final = 2
_SHARD: Final = re.compile(r"[0-9a-f]{32}\.parquet")
_READERS: Final = 8


@dataclass(frozen=True)
class Quarantined:
    """Why a clip has no units.

    Attributes:
        kind: the reason in one or two words, for counting.
        detail: the reason and its remedy, without the clip's name.
    """

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


Cached = Units | Quarantined


def content_key(audio_sha256: str, *, start: float | None, end: float | None, policy: AudioPolicy) -> str:
    """Name of a clip by what its units depend on besides the tokenizer, 64 hexadecimal digits.

    Args:
        audio_sha256: digest of the audio file's bytes.
        start: first second of the clip, if it is a part.
        end: last second of the clip, if it is a part.
        policy: its limits; what it says of unreadable files changes no units.
    """
    content = {
        "version": _PREPROCESSING_VERSION,
        "audio": audio_sha256,
        "start": None if start is None else float(start),
        "end": None if end is None else float(end),
        "min_seconds": float(policy.min_seconds),
        "max_seconds": float(policy.max_seconds),
        "too_short": policy.too_short,
        "too_long": policy.too_long,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class UnitCache:
    """Args:
        root: local directory or ``s3://`` prefix; made when first written to.
        tokenizer_fingerprint: of the tokenizer whose units these are.
        f0: settings with which their pitch is tracked; ``None`` means units without pitch.

    Attributes:
        damaged: of each shard that was met and is not what its name says, a sentence.

    Raises:
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, root: str, tokenizer_fingerprint: str, f0: F0Settings | None = None) -> None:
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise MissingExtra("pyarrow", "train") from error
        self._parquet = pyarrow.parquet
        self._arrow = pyarrow
        self.damaged: dict[str, str] = {}
        # Beside each other: a folder is listed with all that is below it.
        folder = tokenizer_fingerprint if f0 is None else f"{tokenizer_fingerprint}-{f0.digest()}"
        self.directory = object_storage.join(root, folder)

    def lookup(self, keys: Iterable[str], *, shards: Sequence[str] | None = None) -> dict[str, Cached]:
        """What is known of the clips.

        Args:
            keys: of ``content_key``.
            shards: names that ``add`` returned, to look only there; ``None`` means all there are.

        Returns:
            The keys that are cached, with their units or the reason why there are none.

        Raises:
            StorageError: the cache cannot be read.
        """
        wanted = set(keys)
        if not wanted:
            return {}
        if shards is None:
            shards = [name for name in object_storage.list_files(self.directory) if _SHARD.fullmatch(name)]
        found: dict[str, Cached] = {}
        with ThreadPoolExecutor(_READERS) as pool:
            for table in pool.map(self._read, shards):
                if table is not None:
                    found.update(_rows(table, wanted))
        return found

    def add(self, entries: Mapping[str, Cached]) -> str:
        """Writes one shard and returns its name.

        Raises:
            StorageError: it cannot be written.
        """
        pa = self._arrow
        keys = sorted(entries)
        units = [entry if isinstance(entry := entries[key], Units) else None for key in keys]
        reasons = [entry if isinstance(entry := entries[key], Quarantined) else None for key in keys]
        pitches = [u and u.pitch for u in units]
        statistics = [p and p.statistics for p in pitches]
        table = pa.table(
            {
                "key": pa.array(keys, pa.string()),
                "units": pa.array([u and u.units for u in units], pa.list_(pa.int16())),
                "durations": pa.array([u and u.durations for u in units], pa.list_(pa.int32())),
                "windows": pa.array([(u and list(u.windows)) or None for u in units], pa.list_(pa.int32())),
                "f0": pa.array([p and p.f0_hz for p in pitches], pa.list_(pa.float32())),
                "voiced_count": pa.array([s and s.count for s in statistics], pa.int64()),
                "log_f0_total": pa.array([s and s.total for s in statistics], pa.float64()),
                "log_f0_squares": pa.array([s and s.squares for s in statistics], pa.float64()),
                "kind": pa.array([r and r.kind for r in reasons], pa.string()),
                "detail": pa.array([_detail(entries[key]) for key in keys], pa.string()),
            }
        )
        buffer = io.BytesIO()
        self._parquet.write_table(table, buffer, compression="zstd")
        data = buffer.getvalue()
        name = _name(data)
        object_storage.write_addressed(object_storage.join(self.directory, name), data)
        return name

    def remove_damaged(self) -> list[str]:
        """Remove the shards that were met and are not what their names say; returns what is to be said of each."""
        for name, said in self.damaged.items():
            try:
                object_storage.remove(object_storage.join(self.directory, name))
            except StorageError as error:
                self.damaged[name] = f"{said}; {error}"
        return list(self.damaged.values())

    def _read(self, name: str) -> pyarrow.Table | None:
        uri = object_storage.join(self.directory, name)
        try:
            data = object_storage.read_own(uri, limit=UNIT_SHARD.limit)
        except ObjectNotFound:
            # Damaged, and removed by another job since it was listed.
            return None
        except DamagedFile as error:
            self.damaged[name] = str(UNIT_SHARD.damaged(uri, error.message))
            return None
        if _name(data) != name:
            self.damaged[name] = str(UNIT_SHARD.damaged(uri, "is not what its name says"))
            return None
        return self._parquet.read_table(io.BytesIO(data))


def _name(shard: bytes) -> str:
    return f"{hashlib.sha256(shard).hexdigest()[:32]}.parquet"


def _detail(entry: Cached) -> str | None:
    return entry.note if isinstance(entry, Units) else entry.detail


def _rows(table: pyarrow.Table, wanted: set[str]) -> Iterable[tuple[str, Cached]]:
    keys = table.column("key").to_pylist()
    chosen = [row for row, key in enumerate(keys) if key in wanted]
    if not chosen:
        return
    part = table.take(chosen).combine_chunks()
    units, durations = part.column("units"), part.column("durations")
    cut = part.column("windows").to_pylist() if "windows" in part.column_names else [None] * len(part)
    kinds, details = part.column("kind").to_pylist(), part.column("detail").to_pylist()
    for row, (index, kind, detail, pitch) in enumerate(zip(chosen, kinds, details, _pitches(part), strict=True)):
        if kind is not None:
            yield keys[index], Quarantined(kind, detail)
        else:
            yield (
                keys[index],
                Units(
                    np.array(units[row].values, dtype=np.int16),
                    np.array(durations[row].values, dtype=np.int32),
                    pitch,
                    tuple(cut[row] or ()),
                    detail,
                ),
            )


def _pitches(table: pyarrow.Table) -> Iterable[Pitch | None]:
    if "f0" not in table.column_names:
        return [None] * len(table)
    sums = [table.column(name).to_pylist() for name in ("voiced_count", "log_f0_total", "log_f0_squares")]
    return (
        Pitch(np.array(f0.values, dtype=np.float32), PitchStatistics(*statistics)) if f0.is_valid else None
        for f0, *statistics in zip(table.column("f0"), *sums, strict=True)
    )
