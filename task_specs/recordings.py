"""Checks of a task's recordings without decoding them: unreadable headers, and copies."""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, TypeVar

from infra import object_storage
from infra.errors import DatasetError, StorageError
from task_specs.example import SPLITS, Clip, Split
from task_specs.hygiene import Finding
from task_specs.problems import ProblemList
from task_specs.readers import Row
from task_specs.table_audio import in_table, read_recording

_THREADS, _BATCH = 8, 32
_SAMPLE_BYTES = 4096
_END_TOLERANCE_SECONDS = 0.05

DROP = "'duplicates: drop' under data keeps each once"

Key = TypeVar("Key")
Content = tuple[str, float | None, float | None]
"""Digest of the file, start and end; identifies what is heard."""


def check_headers(rows: Sequence[Row], problems: ProblemList) -> list[str]:
    """Add a problem for every local recording whose header cannot be read, or that is shorter than its clip.

    Returns:
        Notes about sample rates.
    """
    clips = {row.example.clip: row for row in reversed(rows) if row.example.clip is not None}
    uris = sorted({clip.uri for clip in clips if not object_storage.is_s3(clip.uri)})
    headers = _each(_header, uris)
    rates: dict[str, set[int]] = defaultdict(set)
    for clip, row in reversed(clips.items()):
        header = headers.get(clip.uri)
        if header is None:
            continue
        if isinstance(header, _Refused):
            remedy = f"{header.remedy}, or write 'check: names' under data to have it quarantined"
            problems.add(row.uri, "", f"{_name(clip, row)}{header.reason}", remedy, line=row.line, kind="unreadable")
            continue
        seconds, rate = header
        rates[" + ".join(row.example.labels)].add(rate)
        if seconds is not None and max(clip.start or 0.0, clip.end or 0.0) > seconds + _END_TOLERANCE_SECONDS:
            message = f"{_name(clip, row)}has {seconds:.2f} s, which is shorter than its clip"
            problems.add(row.uri, "", message, "get the file again", line=row.line, kind="too short")
    together = set().union(*rates.values())
    if len(together) < 2 or any(len(found) > 1 for found in rates.values()):
        return []
    listed = ", ".join(
        f"{rate} Hz for {sum(found == {rate} for found in rates.values())} classes" for rate in sorted(together)
    )
    return [f"the sample rate depends on the label ({listed}), so bandwidth alone tells some classes apart"]


def without_copies(
    rows: Sequence[Row], policy: Literal["keep", "drop"], problems: ProblemList
) -> tuple[list[Row], list[str], list[Finding]]:
    """Find clips with the same bytes, wherever their files are.

    Args:
        rows: all rows of the task.
        policy: ``keep`` keeps copies; ``drop`` keeps one of them, in test before valid before train.
        problems: list for problems with unreadable recordings in S3.

    Returns:
        The remaining rows in order, notes, and findings about the copies.
    """
    found = [(row, row.example.clip) for row in rows if row.example.clip is not None]
    uris = {clip.uri for _, clip in found}
    notes = []
    if policy == "keep" and any(map(object_storage.is_s3, uris)):
        # Comparing them would need all their bytes.
        uris = {uri for uri in uris if not object_storage.is_s3(uri)}
        notes.append("recordings in S3 were not searched for copies; 'duplicates: drop' under data reads them all")
    digests = _digests(uris, problems)
    groups: dict[Content, list[Row]] = defaultdict(list)
    for row, clip in found:
        if clip.uri in digests:
            groups[digests[clip.uri], clip.start, clip.end].append(row)
    # A row that is repeated on purpose names the same clip and is not a copy.
    copied = [group for group in groups.values() if len({row.example.clip for row in group}) > 1]
    if not copied:
        return list(rows), notes, []
    dropped = {id(row) for group in copied for row in _later_ones(group)}
    text = _summary(rows, copied, len(dropped))
    odd = []
    if policy == "drop":
        notes.append(f"{text}; each is kept once, in test before valid before train")
    else:
        # Copies in several splits first.
        ordered = sorted(copied, key=lambda group: len({row.example.split for row in group}) == 1)
        odd.append(Finding(text, [row for group in ordered for row in group], DROP))
    disputed = [group for group in copied if len({row.example.labels for row in group}) > 1]
    if disputed:
        text = f"{len(disputed)} recordings occur with different labels"
        odd.append(Finding(text, [row for group in disputed for row in group], "keep the one with the right label"))
    return [row for row in rows if policy == "keep" or id(row) not in dropped], notes, odd


def _later_ones(group: Sequence[Row]) -> list[Row]:
    kept = max(group, key=lambda row: SPLITS.index(row.example.split))
    return [row for row in group if row is not kept]


def _summary(rows: Sequence[Row], copied: Sequence[Sequence[Row]], copies: int) -> str:
    sizes = Counter(row.example.split for row in rows)
    shared: Counter[Split] = Counter()
    for group in copied:
        splits = {row.example.split for row in group}
        if "train" in splits:
            shared.update(row.example.split for row in group if row.example.split != "train")
    leaks = [f"{shared[split]} of {sizes[split]} {split} clips are also in train" for split in SPLITS if shared[split]]
    return "; ".join([f"{copies} of {len(rows)} clips are copies of others, byte for byte", *leaks])


def _digests(uris: set[str], problems: ProblemList) -> dict[str, str]:
    """Return the SHA-256 of every file that may be a copy: local ones that share size and a sample, and all in S3."""
    local = sorted(uri for uri in uris if not object_storage.is_s3(uri))
    candidates = _alike(_size, local)
    candidates = _alike(_sample, candidates) + sorted(uris.difference(local))
    digests = {}
    for uri, digest in _each(_digest, candidates).items():
        if isinstance(digest, str):
            digests[uri] = digest
        elif object_storage.is_s3(uri):
            problems.add(uri, "", digest.reason, digest.remedy or "make it readable")
        # A local file that cannot be read is ignored here; tokenizing quarantines it.
    return digests


def _digest(uri: str) -> str | StorageError | DatasetError:
    try:
        return hashlib.sha256(read_recording(uri)).hexdigest()
    except (StorageError, DatasetError) as error:
        return error


def _alike(look: Callable[[str], Hashable], uris: Sequence[str]) -> list[str]:
    """Return the files whose ``look`` another file shares, except empty files."""
    looks = _each(look, uris)
    counts = Counter(looks.values())
    return [uri for uri in uris if looks[uri] and counts[looks[uri]] > 1]


def _size(uri: str) -> int:
    """Return the size of a local file in bytes; -1 for a recording in a table or an unreadable file."""
    try:
        return Path(uri).stat().st_size
    except OSError:
        return -1


def _sample(uri: str) -> tuple[int, bytes]:
    """Return the size of a local recording and bytes from its middle, where recordings differ more than in headers."""
    try:
        if in_table(uri):
            data = read_recording(uri)
            begin = max(0, len(data) // 2 - _SAMPLE_BYTES // 2)
            return len(data), data[begin : begin + _SAMPLE_BYTES]
        with Path(uri).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size // 2 - _SAMPLE_BYTES // 2))
            return size, file.read(_SAMPLE_BYTES)
    except (OSError, StorageError, DatasetError):
        return -1, b""


class _Refused(NamedTuple):
    """Reason why a recording cannot be used, and the remedy."""

    reason: str
    remedy: str


def _header(uri: str) -> tuple[float | None, int] | _Refused:
    """Return the length in seconds, ``None`` if the header lacks it, and the sample rate of a local recording."""
    from task_specs.audio_container.recording import open_recording
    from task_specs.audio_container.unusable import UnusableAudio

    try:
        with _opened(uri) as file, open_recording(file) as recording:
            if recording.frames == 0:
                return _Refused("holds no samples", "record it again")
            return recording.seconds, recording.sample_rate
    except UnusableAudio as error:
        return _Refused(f"is not audio that can be decoded ({error.message})", error.remedy)
    except (StorageError, DatasetError) as error:
        return _Refused(error.reason, error.remedy)
    except OSError as error:
        return _Refused(f"cannot be read ({error.strerror or error})", "make it readable")
    except Exception as error:  # noqa: BLE001  whatever it is, it is this recording's
        return _Refused(f"is not audio that can be decoded ({type(error).__name__}: {error})", "get the file again")


def _opened(uri: str) -> BinaryIO:
    return io.BytesIO(read_recording(uri)) if in_table(uri) else Path(uri).open("rb")


def _name(clip: Clip, row: Row) -> str:
    return "" if clip.uri == row.uri else f"{object_storage.basename(clip.uri)} "


def _each(work: Callable[[str], Key], uris: Iterable[str]) -> dict[str, Key]:
    names = list(uris)
    # In batches, since handing one file to a thread costs more than reading its size.
    batches = [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]
    with ThreadPoolExecutor(_THREADS) as threads:
        keys = [key for done in threads.map(lambda batch: [work(name) for name in batch], batches) for key in done]
    return dict(zip(names, keys, strict=True))
