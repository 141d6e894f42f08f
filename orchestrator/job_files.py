"""Small files of a job's storage: the attempt of its lanes, why gangs failed, and the spool of tracking events."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import PositiveInt, TypeAdapter, ValidationError

from infra import object_storage
from infra.errors import DamagedFile, JobError, ObjectNotFound, StorageError, TrackingError
from infra.private_directory import private_directory
from workers.job_store.files import ATTEMPT, FAILURE_NOTE
from workers.tuning.results.outcome import LaneOutcome


def spool_directory(root: str, name: str) -> str:
    """Return a local directory, private to this user, whose unsent tracking events the next submission sends.

    It is in the job's storage if that is local and no other user can write there, else in the temporary directory.

    Args:
        root: directory of the job, local or S3.
        name: name of the job.

    Raises:
        TrackingError: another user owns the directory in the temporary directory.
    """
    if not object_storage.is_s3(root):
        place = Path(object_storage.join(root, "spool")).absolute()
        # A shared directory would let others plant events; unusable storage is reported later.
        with suppress(StorageError, OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            return str(private_directory(place))
    place = Path(tempfile.gettempdir()).absolute() / f"speechprompt-spool-{os.getuid()}"
    try:
        private_directory(place)
        return str(private_directory(place / name))
    except StorageError as error:
        remedy = "set TMPDIR to a directory of your own for unsent MLflow events"
        raise TrackingError(error.reason, remedy=remedy) from error


NOTE_FILE = "failure.json"
_CAUSE: TypeAdapter[str | None] = TypeAdapter(str | None)


def noted_failure(directory: str) -> str | None:
    """Return why a gang failed in an earlier submission; ``None`` if it did not.

    A damaged note counts as a failure, with the damage as its reason.

    Args:
        directory: directory of the gang.

    Raises:
        StorageError: the note cannot be read.
    """
    place = object_storage.join(directory, NOTE_FILE)
    try:
        return _CAUSE.validate_json(FAILURE_NOTE.read(place))
    except ObjectNotFound:
        return None
    except DamagedFile as error:
        return str(error)
    except ValidationError:
        return str(FAILURE_NOTE.damaged(place, "is not a note that this version reads"))


def note_failure(directory: str, cause: str | None) -> None:
    """Store why a gang failed, or ``None`` to allow another try."""
    FAILURE_NOTE.write(object_storage.join(directory, NOTE_FILE), _CAUSE.dump_json(cause))


_ATTEMPT = TypeAdapter(PositiveInt)


def first_attempt(root: str) -> int:
    """Return the attempt that a submission continues.

    Args:
        root: directory of the job, local or S3.

    Raises:
        JobError: the stored file does not hold an attempt.
    """
    place = ATTEMPT.at(root)
    try:
        return _ATTEMPT.validate_json(ATTEMPT.read(place))
    except ObjectNotFound:
        return 1
    except DamagedFile as error:
        raise JobError(str(error)) from error
    except ValidationError as error:
        raise JobError(str(ATTEMPT.damaged(place, "is not the number of an attempt"))) from error


def begin_anew(root: str, outcomes: Iterable[LaneOutcome]) -> int:
    """Store and return a new attempt; this submission and later ones ignore the results of earlier attempts.

    Args:
        root: directory of the job, local or S3.
        outcomes: all outcomes stored so far.
    """
    try:
        known = first_attempt(root)
    except JobError:
        known = 1
    attempt = 1 + max([known, *(outcome.attempt for outcome in outcomes)])
    ATTEMPT.write(ATTEMPT.at(root), _ATTEMPT.dump_json(attempt))
    return attempt
