"""Recognising lists without a header, with the remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence

from task_specs.split_words import split_of
from task_specs.validation import described

_NUMBER = re.compile(r"-?[0-9]+(?:[.,][0-9]+)?")
_RECORDING = re.compile(r".+\.(?:wav|flac|ogg|mp3|opus|m4a|aiff?|au|sph|webm)", re.IGNORECASE)


def list_of_toolkit(rows: Sequence[Sequence[str]]) -> tuple[str, str] | None:
    """Return the kind of a toolkit's list without a header, and the remedy; ``None`` for any other list.

    Args:
        rows: first rows that are not empty.
    """
    if not rows:
        return None
    first = [cell.strip() for cell in rows[0] if cell.strip()]
    following = [[cell.strip() for cell in row] for row in rows[1:]]
    if len(first) == 1 and following and all(len(row) == 2 and row[1].isdecimal() for row in following):
        message = "is a manifest of fairseq (a directory, then names and lengths), which holds no labels"
        return message, "write a manifest with the columns path, label and split"
    if len(first) == 3 and all(map(_NUMBER.fullmatch, first[:2])):
        message = "is a list of labels as Audacity exports it (start, end, label)"
        return message, "write a manifest with the columns path, start, end, label and split"
    if len(first) == 1 and (words := first[0].split()) and _kaldi(words):
        message = "is a list of Kaldi (a name, then its value)"
        return message, "write a manifest with the columns path, label and split"
    return None


def without_header(rows: Sequence[Sequence[str]]) -> tuple[str, str] | None:
    """Return what is wrong with a table whose first row holds no wanted column, and the remedy; ``None`` if nothing is.

    Args:
        rows: first rows that are not empty.
    """
    listed = list_of_toolkit(rows)
    first = [cell.strip() for cell in rows[0] if cell.strip()] if rows else []
    if listed is not None or not first:
        return listed
    if any(_RECORDING.fullmatch(cell) or split_of(cell) or _NUMBER.fullmatch(cell) for cell in first):
        message = "has no header with the names of its columns"
        return message, "add one, such as 'path,label,split'"
    if len(first) == 1:
        message = f"its first row has one cell only, {described(first[0])}"
        return message, "begin with the names of the columns, separated by commas, such as 'path,label,split'"
    return None


def _kaldi(words: Sequence[str]) -> bool:
    """Return whether a line is like ``utt1 /corpus/utt1.flac`` or ``utt1 sph2pipe -f wav utt1.sph |``."""
    return len(words) > 1 and (words[-1] == "|" or bool(_RECORDING.fullmatch(words[-1])))
