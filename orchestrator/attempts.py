"""With which attempt the lanes of a job begin: 1, until the job is told to begin anew."""

from __future__ import annotations

import json
from collections.abc import Iterable

from infra import object_storage
from infra.errors import JobError, ObjectNotFound
from workers.prompting.outcome import LaneOutcome

ATTEMPT_FILE = "attempt.json"


def first_attempt(root: str) -> int:
    """The attempt that a submission goes on with.

    Args:
        root: directory of the job, local or S3.

    Raises:
        JobError: what is stored is no attempt.
    """
    place = object_storage.join(root, ATTEMPT_FILE)
    try:
        stored = json.loads(object_storage.read_bytes(place))
    except ObjectNotFound:
        return 1
    except ValueError:
        stored = None
    if not isinstance(stored, int) or stored < 1:
        raise JobError(f"{place}: not the number of an attempt; run the job with --restart, or delete the file")
    return stored


def begin_anew(root: str, outcomes: Iterable[LaneOutcome]) -> int:
    """A new attempt for every lane; this submission and those after it know nothing of earlier ones.

    Args:
        root: directory of the job, local or S3.
        outcomes: all that lanes have left.
    """
    try:
        known = first_attempt(root)
    except JobError:
        known = 1
    attempt = 1 + max([known, *(outcome.attempt for outcome in outcomes)])
    object_storage.write_bytes(object_storage.join(root, ATTEMPT_FILE), json.dumps(attempt).encode())
    return attempt
