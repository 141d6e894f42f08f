"""Whole checkpoints: a sealed list of their files, which is written last and compared before any of them is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import RootModel, ValidationError

from infra import local_files
from infra.digest import FileEntry
from infra.errors import DamagedFile
from infra.sealed import seal, unseal
from workers.job_store.files import CHECKPOINT, JobFile

MANIFEST_FILE: Final = "checkpoint.json"


class _Manifest(RootModel[dict[str, FileEntry]]):
    """The files of a checkpoint by name."""


def seal_checkpoint(directory: Path, files: Sequence[str], of: str) -> None:
    """List the files of a checkpoint, which are all written.

    Args:
        directory: of the checkpoint.
        files: names of those that are read from it.
        of: what it belongs to, which may be found in another directory later.
    """
    entries = {}
    for name in files:
        file = directory / name
        size = file.stat().st_size
        entries[name] = FileEntry(sha256=local_files.digest_own(str(file), size), size=size)
    content = _Manifest(entries).model_dump_json().encode()
    (directory / MANIFEST_FILE).write_bytes(seal(content, of))


def check_checkpoint(directory: Path, of: str, kind: JobFile = CHECKPOINT) -> None:
    """Whether a checkpoint is what was written, byte by byte.

    Args:
        directory: of the checkpoint.
        of: what it must belong to.
        kind: of its list of files.

    Raises:
        ObjectNotFound: it is not whole: half written, or half deleted.
        DamagedFile: a file is altered, or the checkpoint is of something else.
        StorageError: it cannot be read.
    """
    manifest = str(directory / MANIFEST_FILE)
    try:
        data = local_files.read_own(manifest, kind.limit)
        entries = _Manifest.model_validate_json(unseal(data, of)).root
    except DamagedFile as error:
        raise kind.damaged(manifest, error.message) from error
    except ValidationError as error:
        raise kind.damaged(manifest, "is not a list of files that this version reads") from error
    except ValueError as error:
        raise kind.damaged(manifest, f"is {error}") from error
    for name, entry in entries.items():
        file = str(directory / name)
        try:
            found = local_files.digest_own(file, entry.size)
        except DamagedFile as error:
            raise kind.damaged(file, error.message) from error
        if found != entry.sha256:
            raise kind.damaged(file, f"is not the file that {MANIFEST_FILE} describes")
