"""The words by which people call train, valid and test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from task_specs.example import Split

_WORDS: Mapping[str, Split] = MappingProxyType(
    {
        **dict.fromkeys(("train", "training", "trn", "trainset"), "train"),
        **dict.fromkeys(("valid", "validation", "validate", "val", "vld", "validset", "valset"), "valid"),
        **dict.fromkeys(("dev", "development", "devel", "devset"), "valid"),
        **dict.fromkeys(("test", "testing", "tst", "testset"), "test"),
    }
)
_EVALUATION = frozenset({"eval", "evaluation", "evl", "evalset"})


def split_of(word: str) -> Split | None:
    """The split that a word means in any case, such as ``Dev``; ``None`` for a word that means none for certain.

    ``eval`` is such a word: the corpora of Kaldi and ASVspoof test on it beside ``dev``, others validate on it beside
    ``test``. `splits_of` tells which.
    """
    return _WORDS.get(_plain(word))


def splits_of(words: Iterable[str]) -> dict[str, Split]:
    """The splits that words mean which stand together; those that mean none for certain are left out.

    ``eval`` is test where another word means valid and none means test, and valid where it is the other way round.
    """
    written = list(dict.fromkeys(words))
    found = {word: split for word in written if (split := split_of(word)) is not None}
    there = {"valid", "test"} & set(found.values())
    if len(there) == 1:
        other: Split = "test" if there == {"valid"} else "valid"
        found |= {word: other for word in written if _plain(word) in _EVALUATION}
    return found


def _plain(word: str) -> str:
    """Without what parts the words of a name: ``Train_set`` and ``train-set`` are one."""
    return word.strip().casefold().replace("_", "").replace("-", "").replace(" ", "")
