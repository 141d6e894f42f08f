"""What is said of a failure that Ray reports with pages of traceback."""

from __future__ import annotations


def cause_of(noted: str) -> str:
    """The last line of it: our own errors' sentence, or the type and message of any other; empty if there is none."""
    lines = noted.strip().splitlines()
    last = lines[-1].strip() if lines else ""
    module, colon, message = last.partition(": ")
    return message if colon and module.startswith("infra.errors.") else last
