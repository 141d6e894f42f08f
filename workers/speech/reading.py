"""The bytes of recordings, wherever they are."""

from __future__ import annotations

import socket
from typing import Final

from infra import object_storage
from infra.errors import DatasetError, ObjectNotFound, StorageError
from task_specs.table_audio import read_recording
from workers.speech.audio import RejectedAudio

READERS: Final = 8
"""Files that are read side by side: object storage answers slowly and in parallel."""


def read_audio(uri: str) -> bytes:
    """The bytes of a recording, a file or a part of a table.

    Raises:
        RejectedAudio: nothing is there, the table is damaged there, or it is a local file that cannot be read.
        StorageError: object storage cannot be read.
    """
    try:
        return read_recording(uri)
    except DatasetError as error:
        raise RejectedAudio(uri, "unreadable", str(error)) from error
    except ObjectNotFound as error:
        where = "" if object_storage.is_s3(uri) else f" on {socket.gethostname()}"
        remedy = "" if object_storage.is_s3(uri) else "; a cluster's workers see local paths only on a shared disk"
        raise RejectedAudio(uri, "missing", f"no such file{where}{remedy}") from error
    except StorageError as error:
        if object_storage.is_s3(uri):
            raise
        # One file on a disk says nothing of the others.
        raise RejectedAudio(uri, "missing", str(error).removeprefix(uri).lstrip(": ")) from error
    except MemoryError as error:
        raise RejectedAudio(uri, "fatal", "it is larger than the memory at hand; cut it up") from error
