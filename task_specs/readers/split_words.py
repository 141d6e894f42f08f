"""Words by which people call train, valid and test."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from task_specs.example import Split

WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "validate": "valid",
    "dev": "valid",
    "devel": "valid",
    "development": "valid",
    "test": "test",
    "testing": "test",
    # As Hugging Face's data sets, ASVspoof and AudioSet have it.
    "eval": "test",
    "evaluation": "test",
}

_SEPARATOR = r"[\W_]*"
_SET = re.compile(
    rf"(?P<word>{'|'.join(WORDS)})"
    rf"(?:{_SEPARATOR}(?:set|split|data|audio|wavs?|files|clips|recordings|samples|speech))?"
)

_PART = re.compile(rf"(?:fold|part|split|subset|batch|chunk|shard|session|cd|disc|disk){_SEPARATOR}\d+")


def split_of(name: str) -> Split | None:
    """The split that a name means: a word in any case, as in ``TRAIN``, ``dev_set`` or ``TestData``."""
    found = _SET.fullmatch(_plain(name))
    return WORDS[found["word"]] if found else None


def name_splits(names: Sequence[str]) -> bool:
    """Whether all names begin or end with words for splits, of which there are two or more: ``train-clean``,
    ``test-other``."""
    found = {split for name in names for split in [_within(name)]}
    return None not in found and len(found) > 1


def name_parts(names: Sequence[str]) -> bool:
    """Whether all names are those of numbered parts, of which there are two or more: ``fold1``, ``part_02``."""
    return len(names) > 1 and all(map(_PART.fullmatch, map(_plain, names)))


def _within(name: str) -> Split | None:
    words = re.split(r"[\W_\d]+", _plain(name).strip())
    found = [WORDS[word] for word in (words[0], words[-1]) if word in WORDS]
    return found[0] if found else split_of(name)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()
