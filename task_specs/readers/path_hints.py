"""Remedies for paths that do not lead to a file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

_BELOW: Final = "set 'root' to the directory of the recordings, and write paths below it"
_VARIABLE: Final = re.compile(r"(?:\$\w+|\$?\{\w+\}|%\w+%)(?:[/\\]|$)")
_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_ENDING: Final = re.compile(r"\.(?:wave?|flac|og[ga]|opus|mp3|m4a|aac|webm|wma|aiff?|au|sph|mp4)", re.IGNORECASE)


def not_below(path: str) -> str | None:
    """Return the remedy for a path that cannot be relative to a root; ``None`` for any other path."""
    if path.startswith("s3://"):
        return None
    if address := _ADDRESS.match(path):
        return _BELOW if address[1] == "file" else "fetch the file, and write its path"
    if variable := _VARIABLE.match(path):
        return f"{variable[0].rstrip('/')} is not expanded here; {_BELOW}"
    if path.startswith("~"):
        return f"~ is not expanded here; {_BELOW}"
    if _DRIVE.match(path):
        return f"it is a Windows path; {_BELOW}, with / between directories"
    return "write / between directories" if "\\" in path else None


def spelled_alike(name: str) -> Iterator[str]:
    """Yield keys that similar names share, closest first: without case, surrounding space and URL escapes; then also
    without the ending of a recording."""
    plain = unicodedata.normalize("NFKC", unquote(name)).casefold().strip()
    yield plain
    ending = plain.rfind(".")
    if ending < 1:
        yield f"{plain}."
    elif _ENDING.fullmatch(plain, ending):
        yield plain[: ending + 1]
