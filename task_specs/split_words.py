"""Words for the splits train, valid and test."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from task_specs.example import Split

_WORDS: Mapping[str, Split] = MappingProxyType(
    {
        **dict.fromkeys(("train", "training", "trn"), "train"),
        **dict.fromkeys(("valid", "validation", "validate", "val", "vld"), "valid"),
        **dict.fromkeys(("dev", "development", "devel"), "valid"),
        **dict.fromkeys(("test", "testing", "tst"), "test"),
    }
)
_EVALUATION = ("eval", "evaluation", "evl")

_SEPARATOR = r"[\W_]*"
_SET = re.compile(
    rf"(?P<word>{'|'.join([*_WORDS, *_EVALUATION])})"
    rf"(?:{_SEPARATOR}(?:set|split|data|audio|wavs?|files|clips|recordings|samples|speech))?"
)
_SPEAKER = re.compile(rf"(?:speaker|spkr?|actor|subject|person|participant|user|s|p|id){_SEPARATOR}\d+")
_PART = re.compile(rf"(?:fold|part|split|subset|batch|chunk|shard|session|cd|disc|disk){_SEPARATOR}\d+")


def split_of(name: str) -> Split | None:
    """Return the split that a name stands for by itself, such as ``TRAIN``, ``dev_set`` or ``TestData``.

    ``eval`` is ambiguous: Kaldi and ASVspoof corpora test on it beside ``dev``, others validate on it beside ``test``.
    `splits_of` decides.
    """
    return _WORDS.get(_word(name))


def splits_of(names: Iterable[str]) -> dict[str, Split]:
    """Return the splits of names that occur together, without ambiguous names.

    ``eval`` is test if another name stands for valid and none for test, and valid if it is the other way round.
    """
    written = list(dict.fromkeys(names))
    found = {name: split for name in written if (split := split_of(name)) is not None}
    there = {"valid", "test"} & set(found.values())
    if len(there) == 1:
        other: Split = "test" if there == {"valid"} else "valid"
        found |= dict.fromkeys(filter(means_evaluation, written), other)
    return found


def means_evaluation(name: str) -> bool:
    """Return whether a name stands for valid or test depending on the names beside it."""
    return _word(name) in _EVALUATION


def name_splits(names: Sequence[str]) -> bool:
    """Return whether all names begin or end with words for splits, at least two different ones: ``train-clean``,
    ``test-other``."""
    found = {_within(name) for name in names}
    return None not in found and len(found) > 1


def name_parts(names: Sequence[str]) -> bool:
    """Return whether there are several names and all are numbered parts: ``fold1``, ``part_02``."""
    return len(names) > 1 and all(map(_PART.fullmatch, map(_plain, names)))


def name_speakers(names: Sequence[str]) -> bool:
    """Return whether there are several names and all are numbered speakers: ``spk1``, ``Actor_02``."""
    return len(names) > 1 and all(map(_SPEAKER.fullmatch, map(_plain, names)))


def _within(name: str) -> str | None:
    """Return the split, or ``eval``, that the first or last part of a name stands for."""
    parts = re.split(r"[\W_\d]+", _plain(name))
    for part in (parts[0], parts[-1], name):
        if word := _word(part):
            return _WORDS.get(word, _EVALUATION[0])
    return None


def _word(name: str) -> str:
    """Return the word for a split in a name; empty for any other name."""
    found = _SET.fullmatch(_plain(name))
    return found["word"] if found else ""


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()
