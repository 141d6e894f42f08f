"""Every error a user can meet.

    SpeechPromptError
    ├── InputError              bad input; the command line exits with 2
    │   ├── JobError            a job file
    │   ├── TaskSpecError       a task spec
    │   ├── DatasetError        a manifest, its rows, its labels, its splits
    │   ├── AudioError          one recording
    │   ├── BackboneError       a backbone directory
    │   ├── BundleError         a prompt bundle
    │   │   └── UntrustedBundle one that no trusted key has signed
    │   └── InvalidInputs       several problems, found in one pass
    ├── StorageError            a local or S3 location that cannot be used
    │   ├── ObjectNotFound      nothing there
    │   ├── TooLarge            more bytes than the reader allows
    │   ├── DamagedFile         a file of ours that is not what was written
    │   ├── StoreUnreachable    no answer, or none that a server which is well would give
    │   └── PreconditionFailed  a conditional write lost against another writer
    ├── TrackingError           the MLflow store
    │   └── TrackingUnreachable no answer from it, which may come later
    ├── FrozenWeightsChanged    the shared unit LM is no longer the one of its fingerprint
    ├── TuningError             a lane that cannot go on, such as a loss that is not finite
    ├── RayFailed               Ray, or a machine of it, which says nothing of the input
    └── MissingExtra            an optional dependency that is not installed

Printed, an error is one sentence that names the file, the field and the remedy; it never holds a credential.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "AudioError",
    "BackboneError",
    "BundleError",
    "DamagedFile",
    "DatasetError",
    "FrozenWeightsChanged",
    "InputError",
    "InvalidInputs",
    "JobError",
    "MissingExtra",
    "ObjectNotFound",
    "PreconditionFailed",
    "Problem",
    "RayFailed",
    "SpeechPromptError",
    "StorageError",
    "StoreUnreachable",
    "TaskSpecError",
    "TooLarge",
    "TrackingError",
    "TrackingUnreachable",
    "TuningError",
    "UntrustedBundle",
]


class SpeechPromptError(Exception):
    """Base of every error this product raises on purpose.

    ``str(error)`` is ``where: field: message; remedy``, without a field ``where message; remedy``. Errors keep their
    parts when they are pickled, so they are the same in every process.

    Args:
        message: what is wrong; without ``remedy`` the whole sentence, whose remedy follows its last semicolon.
        where: the file or place that the sentence begins with.
        field: dotted name of the field in it.
        remedy: what to do about it.

    Attributes:
        message: what is wrong, without place, field and remedy.
        where: the file or place; empty where ``message`` names it.
        field: empty where there is none, or ``message`` names it.
        remedy: what to do about it; empty where the sentence has none.
    """

    def __init__(self, message: str, *, where: str = "", field: str = "", remedy: str = "") -> None:
        self.message, self.where, self.field, self.remedy = message, where, field, remedy
        sentence = f"{self.reason}; {remedy}" if remedy else self.reason
        if not remedy and "; " in message:
            self.message, _, self.remedy = message.rpartition("; ")
        super().__init__(sentence)

    @property
    def reason(self) -> str:
        """The sentence without its remedy."""
        if self.field:
            return ": ".join(part for part in (self.where, self.field, self.message) if part)
        return f"{self.where} {self.message}" if self.where else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # An exception pickles as a call of its class with ``args``, but subclasses are called with something else.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class InputError(SpeechPromptError, ValueError):
    """The user's input is wrong."""


class JobError(InputError):
    """A job file, or a field of it, cannot be used."""


class TaskSpecError(InputError):
    """A task spec, or a field of it, cannot be used."""


class DatasetError(InputError):
    """A manifest, a row of it, a label or a split cannot be used."""


class AudioError(InputError):
    """A recording cannot be read, or its length is outside the task's policy."""


class BackboneError(InputError):
    """A backbone directory is missing, incomplete, or not what its fingerprint says."""


class BundleError(InputError):
    """A prompt bundle is missing, incomplete, altered, or made for another backbone."""


class UntrustedBundle(BundleError):
    """A prompt bundle that is not signed by a trusted key, or whose signature does not fit it."""


class StorageError(SpeechPromptError):
    """A location cannot be read or written."""


class ObjectNotFound(StorageError):
    """Nothing is stored at the location."""


class TooLarge(StorageError):
    """A file has more bytes than its reader allows."""


class DamagedFile(StorageError):
    """A file that this product wrote is not what was written there: altered, cut off, grown, of another place, or no
    regular file."""


class StoreUnreachable(StorageError):
    """The server does not answer, or is not well; later it may be."""


class PreconditionFailed(StorageError):
    """Another writer was there first."""


class TrackingError(SpeechPromptError):
    """The MLflow tracking store refuses what it is asked."""


class TrackingUnreachable(TrackingError):
    """The tracking server does not answer, or is not well; later it may be."""


class FrozenWeightsChanged(SpeechPromptError):
    """The shared weights differ from their fingerprint; nothing tuned with them may be published."""


class TuningError(SpeechPromptError):
    """A lane cannot go on."""


class RayFailed(SpeechPromptError):
    """Ray did not start, or a part of it has ended; what was begun goes on when it is run again."""


class MissingExtra(SpeechPromptError, ImportError):
    """An optional dependency is not installed.

    Args:
        package: the module that was wanted.
        extra: the extra of ``speechprompt`` that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed", remedy=f"run: pip install 'speechprompt[{extra}]'")


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with the input.

    Attributes:
        file: the file it stands in, as the user would name it, with ``:line`` where there is one.
        field: dotted name of the field or column; empty when the file as a whole is meant.
        message: what is wrong.
        remedy: what to do about it.
    """

    file: str
    field: str
    message: str
    remedy: str

    @classmethod
    def of(cls, file: str, field: str, error: SpeechPromptError) -> Problem:
        """One that was met elsewhere."""
        return cls(file, field, error.reason.removeprefix(f"{field} "), error.remedy or "correct it")

    def __str__(self) -> str:
        where = f"{self.file}: {self.field}" if self.field else self.file
        return f"{where}: {self.message}; {self.remedy}"


class InvalidInputs(InputError):
    """Several problems, so that a user mends all of them at once.

    Attributes:
        problems: what is wrong, in the order of files and fields.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
