"""What people mean by a path that leads to no file."""

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
    """The remedy for a path that is none below a root, whatever lies there; ``None`` for any other path."""
    if path.startswith("s3://"):
        return None
    if address := _ADDRESS.match(path):
        return _BELOW if address[1] == "file" else "fetch the file, and write its path"
    if variable := _VARIABLE.match(path):
        return f"{variable[0].rstrip('/')} is not filled in here; {_BELOW}"
    if path.startswith("~"):
        return f"~ is not filled in here; {_BELOW}"
    if _DRIVE.match(path):
        return f"it is a path of Windows; {_BELOW}, with / between directories"
    return "write / between directories" if "\\" in path else None


def spelled_alike(name: str) -> Iterator[str]:
    """Keys that two names share if people take one for the other, closest first: but for case, space at the ends and
    escapes of addresses; and also but for the ending of a recording."""
    plain = unicodedata.normalize("NFKC", unquote(name)).casefold().strip()
    yield plain
    ending = plain.rfind(".")
    if ending < 1:
        yield f"{plain}."
    elif _ENDING.fullmatch(plain, ending):
        yield plain[: ending + 1]
