"""Rules for labels and slot names, so that a bundle can hold them."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator

from task_specs.validation import fault

MOST_CHARACTERS: Final = 200
"""Most characters of a label."""
LONGEST_LINE: Final = 500
"""Most characters of other text in a bundle."""
MOST_LABELS: Final = 20_000
"""Most labels of a slot."""
MOST_SLOTS: Final = 64

_STEERING = frozenset({"Cc", "Cs", "Zl", "Zp"})
_UNSEEN = _STEERING | {"Cf", "Zs"}


def one_line(text: str) -> str:
    """Return ``text`` if it is safe to print to a terminal: no control characters, line breaks or lone surrogates.

    Raises:
        pydantic_core.PydanticCustomError: it is not.
    """
    for character in text:
        if unicodedata.category(character) in _STEERING:
            if character in "\n\r\v\f\x85\u2028\u2029":
                raise fault("holds a line break", "write it on one line")
            raise fault(f"holds the control character U+{ord(character):04X}", "remove it")
    return text


def label(text: str) -> str:
    """Return ``text`` if a bundle can hold it as a label or slot name.

    Raises:
        pydantic_core.PydanticCustomError: it cannot.
    """
    if not text:
        raise fault("is empty", "write one or more characters")
    return _short(text, MOST_CHARACTERS)


def _line(text: str) -> str:
    return _short(text, LONGEST_LINE)


def _short(text: str, most: int) -> str:
    if len(text) > most:
        raise fault(f"has {len(text)} characters, but a bundle holds at most {most}", "shorten it")
    return one_line(text)


def visible_label(text: str) -> str:
    """Return ``text`` if it is a valid ``label`` that people can see.

    Raises:
        pydantic_core.PydanticCustomError: a bundle cannot hold it, or all its characters are invisible.
    """
    if text and all(unicodedata.category(character) in _UNSEEN for character in label(text)):
        raise fault("has no visible character", "write a word")
    return label(text)


OneLine = Annotated[str, AfterValidator(one_line)]
Line = Annotated[str, AfterValidator(_line)]
Label = Annotated[str, AfterValidator(label)]
VisibleLabel = Annotated[str, AfterValidator(visible_label)]
