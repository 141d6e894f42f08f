"""The small files of a job's storage: which attempt its lanes are in, why gangs failed, where tracking data waits."""

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
    """A local directory that is this user's alone, and the same at every submission, which sends what is left there.

    It lies in the job's own storage where that is local and nobody else can write it, else in the temporary directory.

    Args:
        root: directory of the job, local or S3.
        name: of the job.

    Raises:
        TrackingError: another user was first in the temporary directory.
    """
    if not object_storage.is_s3(root):
        place = Path(object_storage.join(root, "spool")).absolute()
        # What a team shares is no place for what is sent unasked; a storage that cannot be used is reported later.
        with suppress(StorageError, OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            return str(private_directory(place))
    place = Path(tempfile.gettempdir()).absolute() / f"speechprompt-spool-{os.getuid()}"
    try:
        private_directory(place)
        return str(private_directory(place / name))
    except StorageError as error:
        remedy = "set TMPDIR to a directory of your own, in which events wait for MLflow"
        raise TrackingError(error.reason, remedy=remedy) from error


NOTE_FILE = "failure.json"
_CAUSE: TypeAdapter[str | None] = TypeAdapter(str | None)


def noted_failure(directory: str) -> str | None:
    """Why a gang failed in an earlier submission; ``None`` if it did not.

    A note that is damaged stands for a failure of which nothing more is known.

    Args:
        directory: of the gang.

    Raises:
        StorageError: it cannot be read.
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
    """Remember why a gang failed, or with ``None`` that it may be tried again."""
    FAILURE_NOTE.write(object_storage.join(directory, NOTE_FILE), _CAUSE.dump_json(cause))


_ATTEMPT = TypeAdapter(PositiveInt)


def first_attempt(root: str) -> int:
    """The attempt that a submission goes on with.

    Args:
        root: directory of the job, local or S3.

    Raises:
        JobError: what is stored is no attempt.
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
    ATTEMPT.write(ATTEMPT.at(root), _ATTEMPT.dump_json(attempt))
    return attempt
