"""Units of clips that were tokenized before, by content.

    <root>/<tokenizer fingerprint>[-<digest of the F0 settings>]/<digest of the shard>.parquet

with the columns key, units, durations, windows, f0, voiced_count, log_f0_total, log_f0_squares, kind, detail; those of
pitch are null, or absent in older shards, where no F0 settings are given, and so are windows where nothing was cut.

A clip that cannot be used is remembered, with the kind and detail of its reason; of a clip that has units, detail is
what a user should know of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from infra import object_storage
from task_specs.audio_policy import AudioPolicy
from workers.speech.f0 import F0Settings
from workers.speech.prosody import Pitch, PitchStatistics
from workers.speech.shard_cache import ShardCache
from workers.speech.units import Units

if TYPE_CHECKING:
    import pyarrow

# Raised when decoding or the policy changes what comes out of the same bytes.
_PREPROCESSING_VERSION: Final = 2


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


class UnitCache(ShardCache):
    """Args:
        root: local directory or ``s3://`` prefix; made when first written to.
        tokenizer_fingerprint: of the tokenizer whose units these are.
        f0: settings with which their pitch is tracked; ``None`` means units without pitch.

    Raises:
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, root: str, tokenizer_fingerprint: str, f0: F0Settings | None = None) -> None:
        # Beside each other: a folder is listed with all that is below it.
        folder = tokenizer_fingerprint if f0 is None else f"{tokenizer_fingerprint}-{f0.digest()}"
        super().__init__(object_storage.join(root, folder))

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
        return dict(entry for table in self.tables(keys, shards=shards) for entry in _entries(table))

    def add(self, entries: Mapping[str, Cached]) -> str:
        """Writes one shard and returns its name.

        Raises:
            StorageError: it cannot be written.
        """
        pa = self.arrow
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
        return self.add_table(table)


def _detail(entry: Cached) -> str | None:
    return entry.note if isinstance(entry, Units) else entry.detail


def _entries(part: pyarrow.Table) -> Iterable[tuple[str, Cached]]:
    keys, units, durations = part.column("key").to_pylist(), part.column("units"), part.column("durations")
    cut = part.column("windows").to_pylist() if "windows" in part.column_names else [None] * len(part)
    kinds, details = part.column("kind").to_pylist(), part.column("detail").to_pylist()
    for row, (key, kind, detail, pitch) in enumerate(zip(keys, kinds, details, _pitches(part), strict=True)):
        if kind is not None:
            yield key, Quarantined(kind, detail)
        else:
            yield (
                key,
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
