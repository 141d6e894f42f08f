"""With which attempt the lanes of a job begin: 1, until the job is told to begin anew."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import PositiveInt, TypeAdapter, ValidationError

from infra import object_storage
from infra.errors import DamagedFile, JobError, ObjectNotFound
from workers.job_files import ATTEMPT
from workers.prompting.outcome import LaneOutcome

ATTEMPT_FILE = "attempt.json"
_ATTEMPT = TypeAdapter(PositiveInt)


def first_attempt(root: str) -> int:
    """The attempt that a submission goes on with.

    Args:
        root: directory of the job, local or S3.

    Raises:
        JobError: what is stored is no attempt.
    """
    place = object_storage.join(root, ATTEMPT_FILE)
    try:
        return _ATTEMPT.validate_json(ATTEMPT.read(place))
    except ObjectNotFound:
        return 1
    except DamagedFile as error:
        raise JobError(str(error)) from error
    except ValidationError as error:
        raise JobError(str(ATTEMPT.damaged(place, "is not the number of an attempt"))) from error


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
    ATTEMPT.write(object_storage.join(root, ATTEMPT_FILE), _ATTEMPT.dump_json(attempt))
    return attempt
