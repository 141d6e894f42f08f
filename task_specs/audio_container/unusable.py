"""Why a recording cannot be used."""

from __future__ import annotations

from typing import Literal

from infra.errors import AudioError
from infra.foreign_file import FETCH_AGAIN

UnusableKind = Literal["missing", "unreadable", "empty", "too short", "too long"]

CONVERT = "convert it, as with: ffmpeg -i OLD -c:a flac NEW.flac"


class UnusableAudio(AudioError):
    """A recording that cannot be used, by what its bytes say; whoever reads it knows its name.

    Attributes:
        kind: the reason in one or two words, for counting.
        detail: the reason and its remedy.
    """

    def __init__(self, kind: UnusableKind, detail: str) -> None:
        super().__init__(detail, field=kind)
        self.kind: UnusableKind = kind
        self.detail = detail


def several_in_turn() -> UnusableAudio:
    """Of files that were joined as bytes, of which decoders read the first."""
    detail = f"it holds several recordings one after the other; cut it up, or {CONVERT}"
    return UnusableAudio("unreadable", detail)


def cut_off(promised: int, found: int, what: str = "samples") -> UnusableAudio:
    """Of a file that holds less than its header promises, as downloads do that broke off."""
    return UnusableAudio("unreadable", f"its header promises {promised} {what} but {found} follow; {FETCH_AGAIN}")
