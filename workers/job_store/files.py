"""Every kind of file that a job writes and reads again, how each is checked before it is used, and what becomes of one
that is not what was written.

Three checks cover them. A file by ``digest`` has the digest of its content in its name. A ``sealed`` one is a JSON
document with a digest of itself and of its place, so that neither a flipped bit nor another job's file passes. A
``listed`` one has its digest and size in a sealed document. None is read beyond a limit, through a link, or where a
pipe stands for it.

A file of a version that did not seal its documents is treated like a damaged one: its lanes are tuned again, to the
same prompts up to rounding. Shards of the unit cache have had their digest in their name from the first version on, and
stay valid.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Final, Literal

from infra import object_storage
from infra.digest import FileEntry
from infra.errors import DamagedFile, ObjectNotFound
from infra.sealed import seal, unseal


@dataclass(frozen=True)
class JobFile:
    """A kind of file.

    Attributes:
        place: names that lead to it, the last of which it has; ``<name>`` stands for any.
        check: how it is known to be what was written.
        then: what becomes of one that is not, or what helps.
        limit: bytes that it has at most.
    """

    place: str
    check: Literal["digest", "sealed", "listed", "line by line", "Ray's own"]
    then: str
    limit: int

    def at(self, root: str, **names: str) -> str:
        """The URI of one.

        Args:
            root: what the first name of ``place`` stands for, local or S3.
            names: what the others stand for.
        """
        parts = [re.sub(r"<(\w+)>", lambda name: names[name[1]], part) for part in self.place.split("/")[1:]]
        return object_storage.join(root, *parts)

    def directory(self, root: str) -> str:
        """Where all of them lie below ``root``, which stands for the first name of ``place``."""
        fixed = itertools.takewhile(lambda part: "<" not in part, self.place.split("/")[1:-1])
        return object_storage.join(root, *fixed)

    def write(self, uri: str, content: bytes) -> None:
        """Seal a JSON document and store it, in place of one that is there.

        Raises:
            StorageError: it cannot be written.
        """
        object_storage.write_bytes(uri, self.seal(uri, content))

    def read(self, uri: str) -> bytes:
        """The content of a sealed document.

        Raises:
            ObjectNotFound: nothing is there.
            DamagedFile: it is not what was written there.
            StorageError: it cannot be read.
        """
        try:
            data = object_storage.read_own(uri, limit=self.limit)
        except DamagedFile as error:
            raise self.damaged(uri, error.message) from error
        return self.unseal(uri, data)

    def read_listed(self, uri: str, entry: FileEntry | None, listing: str) -> bytes:
        """The content of a file that a sealed document lists.

        Args:
            uri: where it is.
            entry: what the document says of it; ``None`` where it says nothing.
            listing: name of the document.

        Raises:
            DamagedFile: it is not the file that is listed, or none is.
            StorageError: it cannot be read.
        """
        if entry is None:
            raise self.damaged(uri, f"is not among the files of {listing}")
        try:
            data = object_storage.read_own(uri, limit=entry.size)
        except ObjectNotFound as error:
            raise self.damaged(uri, "is missing") from error
        except DamagedFile as error:
            raise self.damaged(uri, error.message) from error
        if not entry.describes(data):
            raise self.damaged(uri, f"is not the file that {listing} describes")
        return data

    def seal(self, uri: str, content: bytes) -> bytes:
        """What is stored of a JSON document."""
        return seal(content, self._belongs(uri))

    def unseal(self, uri: str, data: bytes) -> bytes:
        """Inverse of ``seal``.

        Raises:
            DamagedFile: it is not what was written there.
        """
        try:
            return unseal(data, self._belongs(uri))
        except ValueError as error:
            raise self.damaged(uri, f"is {error}") from error

    def damaged(self, uri: str, how: str) -> DamagedFile:
        """The error that says so, and what becomes of it."""
        return DamagedFile(how, where=uri, remedy=self.then)

    def _belongs(self, uri: str) -> str:
        """The end of its path, which stays the same where a job is moved."""
        return "/".join(uri.split("/")[-(self.place.count("/") + 1) :])


_RUN_AGAIN: Final = "run the job again, which writes it anew"
_TUNED_AGAIN: Final = "running the job tunes its lane again"
_EARLIER: Final = "the one before it is taken up, or its gang begins again"
_RUN_BEGINS: Final = "delete the directory of the run, which then begins again"
_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30

UNIT_SHARD: Final = JobFile("<tokenizer>/<digest>.parquet", "digest", "its clips are tokenized again", _GIB)
EXAMPLES: Final = JobFile(
    "<job>/examples/<digest>.safetensors", "digest", "run the job with --retry-failed, which mends it", 8 * _GIB
)
SEQUENCES: Final = JobFile("<job>/units/<digest>.safetensors", "digest", "run it again, which mends it", 64 * _GIB)
ATTEMPT: Final = JobFile(
    "<job>/attempt.json", "sealed", "run the job with --restart, or delete it if the job never was restarted", _KIB
)
LEASE: Final = JobFile("<job>/lease.json", "sealed", "remove it if nobody runs the job", 4 * _KIB)
OUTCOME: Final = JobFile("<job>/lanes/<lane>/lane.json", "sealed", _TUNED_AGAIN, 64 * _MIB)
PROMPT: Final = JobFile("<job>/lanes/<lane>/prompt.safetensors", "listed", _TUNED_AGAIN, 0)
UNIT_USE: Final = JobFile("<job>/lanes/<lane>/unit_use.safetensors", "listed", _TUNED_AGAIN, 0)
HEARD: Final = JobFile("<job>/lanes/<lane>/heard.safetensors", "listed", _TUNED_AGAIN, 0)
DETECTION: Final = JobFile("<job>/lanes/<lane>/<scores or det>_test.tsv", "listed", _TUNED_AGAIN, 0)
CLASS_SCORES: Final = JobFile("<job>/lanes/<lane>/class_scores.safetensors", "listed", _TUNED_AGAIN, 0)
PUBLISHED: Final = JobFile(
    "<job>/lanes/<lane>/published.json", "sealed", "a bundle that lies there already is not signed by the job", _KIB
)
GANGS: Final = JobFile("<job>/gangs/<experiment>.json", "sealed", "gangs are formed anew", 64 * _MIB)
DISSOLVED: Final = JobFile(
    "<job>/gangs/<experiment>-dissolved.json", "sealed", "its gangs are tried together again", 16 * _MIB
)
RESOLVED: Final = JobFile("<job>/gangs/resolved.json", "sealed", "what was auto is found anew", _KIB)
FAILURE_NOTE: Final = JobFile(
    "<experiment>/<gang>/failure.json", "sealed", "run the job with --retry-failed to try the gang again", _MIB
)
CHECKPOINT: Final = JobFile("<experiment>/<gang>/<checkpoint>/checkpoint.json", "sealed", _EARLIER, _MIB)
CHECKPOINT_PART: Final = JobFile(
    "<experiment>/<gang>/<checkpoint>/<queue.json, lanes.json or lanes.safetensors>", "listed", _EARLIER, 0
)
PRETRAINING: Final = JobFile("<job>/<run>/<checkpoint>/checkpoint.json", "sealed", _RUN_BEGINS, _MIB)
PRETRAINING_PART: Final = JobFile(
    "<job>/<run>/<checkpoint>/<lm.safetensors, optimizer.safetensors or progress.json>", "listed", _RUN_BEGINS, 0
)
RANKS_SNAPSHOT: Final = JobFile("<job>/<run>/checkpoint_manager_snapshot.json", "Ray's own", _RUN_BEGINS, 0)
BASELINE: Final = JobFile("<job>/baselines/<digest>.json", "sealed", "it is computed again", _MIB)
BASELINE_ANSWERS: Final = JobFile("<job>/baselines/<digest>.safetensors", "listed", "it is computed again", 0)
GANG_STATUS: Final = JobFile(
    "<job>/status/<gang>.json", "sealed", "delete it, a job that runs writes it anew", 4 * _MIB
)
DRIVER_STATUS: Final = JobFile("<job>/status/driver.json", "sealed", _RUN_AGAIN, 32 * _MIB)
REPORT: Final = JobFile("<job>/report.json", "sealed", _RUN_AGAIN, 64 * _MIB)
MEASURED_GANGS: Final = JobFile("gangs/<digest>.json", "sealed", "widths are measured again", _MIB)
JOURNAL: Final = JobFile(
    "<job>/spool/<store>/<run>/<header, events or sent>", "line by line", "what cannot be read is set aside", 0
)

JOB_FILES: Final = (
    UNIT_SHARD,
    EXAMPLES,
    SEQUENCES,
    ATTEMPT,
    LEASE,
    OUTCOME,
    PROMPT,
    UNIT_USE,
    HEARD,
    DETECTION,
    CLASS_SCORES,
    PUBLISHED,
    GANGS,
    DISSOLVED,
    RESOLVED,
    FAILURE_NOTE,
    CHECKPOINT,
    CHECKPOINT_PART,
    PRETRAINING,
    PRETRAINING_PART,
    RANKS_SNAPSHOT,
    BASELINE,
    BASELINE_ANSWERS,
    GANG_STATUS,
    DRIVER_STATUS,
    REPORT,
    MEASURED_GANGS,
    JOURNAL,
)
"""All of them. ``limit`` 0: as many bytes as the document that lists it says, or not read here. Ray's snapshot of a run
only names checkpoints, each of which is checked."""
