"""Reasons why recordings cannot be used."""

from __future__ import annotations

from typing import Literal

from infra.errors import AudioError
from infra.foreign_file import FETCH_AGAIN

UnusableKind = Literal["missing", "unreadable", "empty", "too short", "too long"]

CONVERT = "convert it, as with: ffmpeg -i OLD -c:a flac NEW.flac"


class UnusableAudio(AudioError):
    """A recording that cannot be used; the caller adds its name.

    Attributes:
        kind: kind of reason, for counting.
        detail: reason and remedy.
    """

    def __init__(self, kind: UnusableKind, detail: str) -> None:
        super().__init__(detail, field=kind)
        self.kind: UnusableKind = kind
        self.detail = detail


def several_in_turn() -> UnusableAudio:
    """Return the error for joined files, of which decoders read only the first."""
    detail = f"it holds several recordings one after the other; split it, or {CONVERT}"
    return UnusableAudio("unreadable", detail)


def cut_off(promised: int, found: int, what: str = "samples") -> UnusableAudio:
    """Return the error for a file that is shorter than its header promises, such as an incomplete download."""
    return UnusableAudio("unreadable", f"its header promises {promised} {what} but {found} follow; {FETCH_AGAIN}")
