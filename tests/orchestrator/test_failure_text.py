from __future__ import annotations

import pytest

from orchestrator.failure_text import cause_of


@pytest.mark.parametrize(
    ("noted", "cause"),
    [
        (
            "Traceback\n  File x\ninfra.errors.StorageError: s3://b: no such bucket; make it\n",
            "s3://b: no such bucket; make it",
        ),
        ("Traceback\n  File x\nValueError: wrong: 3", "ValueError: wrong: 3"),
        ("  \n", ""),
    ],
)
def test_only_the_sentence_is_left(noted: str, cause: str) -> None:
    assert cause_of(noted) == cause
