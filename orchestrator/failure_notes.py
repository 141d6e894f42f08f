"""Why gangs failed, kept beside their checkpoints, so that only who asks for it has them tried again."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from infra import object_storage
from infra.errors import DamagedFile, ObjectNotFound
from workers.job_files import FAILURE_NOTE

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
