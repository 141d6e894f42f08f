"""The error a validator of a user's file raises: what is wrong, and the remedy."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

FAULT = "speechprompt_fault"
"""Type of these errors among pydantic's own."""


def fault(message: str, remedy: str) -> PydanticCustomError:
    """An error that becomes a ``Problem`` with this message and remedy."""
    return PydanticCustomError(FAULT, "{message}; {remedy}", {"message": message, "remedy": remedy})
