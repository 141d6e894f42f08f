"""The error of a reader that finds a file other than it was written."""

from __future__ import annotations


class Damaged(ValueError):
    """A checksum or a length differs; its text says of what."""
