"""What is wrong with a file by unknown hands, in words that can be shown, and the error that says so."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from pydantic import ValidationError

from infra.printable import first_of


class Damaged(ValueError):
    """A checksum or a length differs; its text says of what."""


_MOST_LISTED: Final = 1_000
"""Faults beyond which the file is no slip of the pen; a million of them would fill the memory once listed."""
_SHOWN: Final = 5
_PART_SHOWN: Final = 60
_MESSAGE_SHOWN: Final = 200


def first_fault(error: ValidationError, *, leave_out: Container[str] = ()) -> tuple[str, str]:
    """The dotted name of the first field that is wrong, and what is wrong with it.

    Both are short and on one line, without characters that steer a terminal.

    Args:
        error: what pydantic raised.
        leave_out: parts of names that are no fields, such as the kinds of a union.

    Returns:
        The field, empty where the document as a whole is meant, and the fault.
    """
    return _faults(error, leave_out)[0]


def faults(error: ValidationError, *, whole: str) -> str:
    """The first few faults in one line, each with its field, or ``whole`` where the document as a whole is meant."""
    found = _faults(error, ())
    return first_of([f"{field or whole}: {fault}" for field, fault in found], _SHOWN, "; ")


def _faults(error: ValidationError, leave_out: Container[str]) -> list[tuple[str, str]]:
    if error.error_count() > _MOST_LISTED:
        return [("", f"{error.error_count()} of its fields are wrong")]
    return [
        (
            ".".join(_plain(str(part), _PART_SHOWN) for part in fault["loc"] if part not in leave_out),
            _plain(fault["msg"], _MESSAGE_SHOWN),
        )
        for fault in error.errors(include_url=False, include_input=False)
    ]


def _plain(text: str, longest: int) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in text[:longest])
    return shown if len(text) <= longest else f"{shown}..."
