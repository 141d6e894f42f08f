"""Checks of valid rows against each other: contradictory labels, labels that look alike, and splits that share data."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from task_specs.example import SPLITS, Split
from task_specs.problems import shown
from task_specs.readers import Row

MOST_PLACES = 5
LONG_UNITS = 20
"""Shortest unit sequence that two recordings do not share by chance."""
OVERLAP_SECONDS = 0.01
"""Overlaps up to this are rounding errors."""

# Letters of other scripts that look like Latin ones, and signs that look alike.
_DRAWN_ALIKE = str.maketrans(
    "аеіјорсухѕһԁαικνορυχ‐‑‒–—―−‘’ʼ“”",
    "aeijopcyxshdaikvopux------" + "-" + "'''" + '""',
)


@dataclass(frozen=True)
class Finding:
    """Something suspicious about several rows.

    Attributes:
        text: sentence with counts.
        rows: rows concerned, most important first.
        remedy: what to do about it.
    """

    text: str
    rows: Sequence[Row]
    remedy: str

    @property
    def message(self) -> str:
        """Sentence with the first places."""
        return f"{self.text} ({places(self.rows)})"


def places(rows: Sequence[Row]) -> str:
    """Return where the first rows are: ``data.csv:4, 19 and 3 more``."""
    named = []
    for uri, there in groupby(rows[:MOST_PLACES], key=lambda row: row.uri):
        lines = ", ".join(str(row.line) for row in there if row.line is not None)
        named.append(f"{shown(uri)}:{lines}" if lines else shown(uri))
    more = f" and {len(rows) - MOST_PLACES} more" if len(rows) > MOST_PLACES else ""
    return ", ".join(named) + more


def findings(rows: Sequence[Row], slots: Sequence[str], *, repeats: bool = False) -> Iterator[Finding]:
    """Yield everything suspicious about rows.

    Args:
        rows: all rows of the task.
        slots: names of the slots.
        repeats: whether clips are repeated on purpose.
    """
    yield from _same_input(rows, lambda row: row.example.clip, "clip", "clips", repeats)
    yield from _same_input(rows, _long_units, "unit sequence", "unit sequences", repeats=True)
    yield from _shared_units(rows)
    yield from _overlaps(rows)
    for slot, name in enumerate(slots):
        yield from _alike(rows, slot, f"{name}: " if len(slots) > 1 else "")
    yield from _speakers(rows, len(slots))


def _same_input(
    rows: Sequence[Row], input_of: Callable[[Row], Hashable | None], what: str, several: str, repeats: bool
) -> Iterator[Finding]:
    """Yield inputs with more than one label, and inputs that are repeated with the same label."""
    groups = [group for group in _grouped(rows, input_of) if len(group) > 1]
    disputed: list[list[Row]] = []
    agreed: list[list[Row]] = []
    for group in groups:
        (disputed if len({row.example.labels for row in group}) > 1 else agreed).append(group)
    if disputed:
        verb = "has" if len(disputed) == 1 else "have"
        text = f"{len(disputed)} {what if len(disputed) == 1 else several} {verb} more than one label"
        yield Finding(text, [row for group in disputed for row in group], "keep the row with the right label")
    again = [row for group in agreed for row in group[1:]]
    if again and not repeats:
        text = f"{len(again)} of {len(rows)} rows repeat a {what} with the same label"
        yield Finding(text, again, "remove them unless they should count more")


def _shared_units(rows: Sequence[Row]) -> Iterator[Finding]:
    """Yield unit sequences of valid or test that are also in train."""
    shared: list[Row] = []
    for group in _grouped(rows, _long_units):
        if any(row.example.split == "train" for row in group):
            shared += [row for row in group if row.example.split != "train"]
    if shared:
        counts = Counter(row.example.split for row in shared)
        text = " and ".join(f"{counts[split]} unit sequences of {split}" for split in SPLITS if counts[split])
        yield Finding(f"{text} are also in train", shared, "keep each recording in one split")


def _overlaps(rows: Sequence[Row]) -> Iterator[Finding]:
    """Yield clips that overlap a clip of another split in the same recording."""
    found: list[Row] = []
    for group in _grouped(rows, lambda row: row.example.clip and row.example.clip.uri):
        if len({row.example.split for row in group}) > 1:
            found += _overlapping(group)
    if found:
        text = f"{len(found)} of {len(rows)} clips overlap a clip of another split in the same recording"
        yield Finding(text, found, "take the splits from different recordings, or from separate times")


def _overlapping(group: Sequence[Row]) -> Iterator[Row]:
    times = []
    for place, row in enumerate(group):
        assert row.example.clip is not None  # noqa: S101
        times.append((row.example.clip.start or 0.0, row.example.clip.end or float("inf"), place))
    last: dict[Split, float] = {}
    for start, end, place in sorted(times):
        row = group[place]
        if any(until - start > OVERLAP_SECONDS for split, until in last.items() if split != row.example.split):
            yield row
        last[row.example.split] = max(end, last.get(row.example.split, 0.0))


def _alike(rows: Sequence[Row], slot: int, prefix: str) -> Iterator[Finding]:
    """Yield labels that people may take for the same."""
    counts = Counter(row.example.labels[slot] for row in rows)
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        groups[_seen(label)].append(label)
    for alike in groups.values():
        if len(alike) < 2:
            continue
        # Labels that still look alike in quotes are written with escapes.
        spell = ascii if len({_plain(label) for label in alike}) > 1 or not all(map(str.isprintable, alike)) else repr
        named = [f"{spell(label)} in {counts[label]} rows" for label in sorted(alike, key=lambda label: -counts[label])]
        rare = min(alike, key=lambda label: counts[label])
        where = [row for row in rows if row.example.labels[slot] == rare]
        text = f"{prefix}labels that look alike are different classes: {', '.join(named[:MOST_PLACES])}"
        yield Finding(text, where, "spell them alike if they are one class")


def _seen(label: str) -> str:
    """Return a label as people see it, without case."""
    return _plain(label).translate(_DRAWN_ALIKE)


def _plain(label: str) -> str:
    """Return a label without case, extra white space, invisible characters and compatibility forms."""
    label = unicodedata.normalize("NFKC", label)
    visible = "".join(sign for sign in label if sign.isspace() or unicodedata.category(sign) not in ("Cf", "Cc"))
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", visible.lower())).strip()


def _speakers(rows: Sequence[Row], slots: int) -> Iterator[Finding]:
    """Yield speakers of valid or test that are also in train, unless the task is speaker identification."""
    known = [row for row in rows if row.example.speaker is not None]
    speakers = {split: {row.example.speaker for row in known if row.example.split == split} for split in SPLITS}
    shared = {split: speakers[split] & speakers["train"] for split in SPLITS[1:]}
    if not any(shared.values()) or any(_one_to_one(known, slot) for slot in range(slots)):
        return
    counts = [f"{len(found)} of {len(speakers[split])} speakers of {split}" for split, found in shared.items() if found]
    where: dict[object, Row] = {}
    for row in known:
        if row.example.split != "train" and row.example.speaker in shared[row.example.split]:
            where.setdefault((row.example.split, row.example.speaker), row)
    text = f"{' and '.join(counts)} are also in train"
    yield Finding(text, list(where.values()), "keep each speaker in one split")


def _one_to_one(rows: Sequence[Row], slot: int) -> bool:
    pairs = {(row.example.labels[slot], row.example.speaker) for row in rows}
    return len(pairs) == len({label for label, _ in pairs}) == len({speaker for _, speaker in pairs})


def _long_units(row: Row) -> Hashable | None:
    units = row.example.units
    return (units, row.example.durations) if units is not None and len(units) >= LONG_UNITS else None


def _grouped(rows: Iterable[Row], key: Callable[[Row], Hashable | None]) -> Iterable[list[Row]]:
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        if (found := key(row)) is not None:
            groups[found].append(row)
    return groups.values()
