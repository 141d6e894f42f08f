"""Files of ``torch.save`` by unknown hands, read without running anything they hold.

Tensors and plain containers are read, of every pickle protocol that can hold them. The few other names that fairseq's
checkpoints hold become inert records, so that neither fairseq nor omegaconf is needed. Any other name is an error that
says which. Before anything of a file is believed, its checksums are compared, where its format has any.
"""

from __future__ import annotations

import io
import mmap
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from torch import Tensor

from infra import object_storage
from infra.errors import BackboneError
from infra.printable import in_ascii
from workers.untrusted.fault_text import Damaged
from workers.untrusted.file_kinds import CHECKPOINT, HEAD, file_kind
from workers.untrusted.pickled_arrays import NUMPY_STAND_INS
from workers.untrusted.pickled_tensors import TORCH_STAND_INS, PickledStorage, PickledTensor, stored
from workers.untrusted.pickles import Inert, InertUnpickler, PickledDict, latin1, reconstructor
from workers.untrusted.torch_archive import LOCAL, TorchArchive, read_stream

_STAND_INS: Final = {
    **NUMPY_STAND_INS,
    **TORCH_STAND_INS,
    "_codecs.encode": latin1,
    "copyreg._reconstructor": reconstructor,
    "collections.OrderedDict": PickledDict,
    "collections.Counter": PickledDict,
    "collections.defaultdict": lambda *_: PickledDict(),
}
_INERT: Final = frozenset(
    {
        "argparse.Namespace",
        "typing.Any",
        *(f"builtins.{kind}" for kind in ("bool", "dict", "float", "int", "list", "object", "set", "str", "tuple")),
        *(f"pathlib.{kind}Path" for kind in ("", "Posix", "PurePosix", "Windows", "PureWindows")),
    }
)
# Types of settings, meters and dictionaries, of which a checkpoint may hold any.
_INERT_MODULES: Final = ("fairseq.", "omegaconf.")
_MOST_SHARING = 2


class TorchFile(NamedTuple):
    """What was read.

    Attributes:
        content: the object in the file; tensors are ``PickledTensor``.
        notes: what a user should know about it, though nothing is wrong.
    """

    content: Any
    notes: tuple[str, ...]


def read_torch_file(uri: str) -> TorchFile:
    """The object in a file of ``torch.save``, local or S3.

    Both layouts are read, zip and the one from before torch 1.6.

    Raises:
        BackboneError: there is no such file; it is damaged; it holds anything but tensors, plain values and the few
            records that fairseq writes, and then the error names it; or it is no such file, and the error says what it
            is.
        StorageError: the place cannot be read.
    """
    with _local(uri) as path:
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if path.stat().st_size else None
            if data is None:
                raise ValueError("it is empty")
            return _zipped(uri, path, data) if data[: len(LOCAL)] == LOCAL else _streamed(uri, data)
        except Damaged as error:
            raise BackboneError(f"{uri}: damaged ({error}); fetch the file again") from error
        except Exception as error:
            # Another file, or a damaged one without checksums, makes its reader raise nearly any kind of error.
            named = _not_read(uri, path, error)
            if named is error:
                raise
            raise named from error


def _zipped(uri: str, path: Path, data: mmap.mmap) -> TorchFile:
    archive = TorchArchive(path, data)
    content = _Reader(io.BytesIO(archive.content("data.pkl")), uri, archive.place).load()
    return TorchFile(content, () if archive.has_checksums else (_unchecked(uri, "it was written without checksums"),))


def _streamed(uri: str, data: mmap.mmap) -> TorchFile:
    reader = _Reader(data, uri, lambda *_: None)
    content = read_stream(data, reader.load, reader.storages)
    return TorchFile(content, (_unchecked(uri, "the layout from before torch 1.6 holds no checksums"),))


def _unchecked(uri: str, why: str) -> str:
    return f"{uri}: {why}, so a damaged number would not be seen; compare its SHA-256 with that of its source"


def _not_read(uri: str, path: Path, error: Exception) -> BackboneError:
    """What is wrong with a file that could not be read."""
    with path.open("rb") as file:
        kind = file_kind(file.read(HEAD))
    if kind is not None and kind.what != CHECKPOINT:
        return BackboneError(f"{uri}: {kind.what} instead of a checkpoint; {kind.remedy or 'name the original file'}")
    if isinstance(error, BackboneError):
        return error
    said = in_ascii(error, 120)
    said = said if type(error) is ValueError else f"{type(error).__name__}: {said}"
    return BackboneError(f"{uri}: not a complete file of torch.save ({said}); fetch it again")


class _Reader(InertUnpickler):
    """Reads the pickles of a file of ``torch.save``.

    Attributes:
        storages: by key, those that were come upon.
    """

    def __init__(self, file: Any, uri: str, place: Callable[[str, PickledStorage], None]) -> None:
        super().__init__(file)
        self._uri, self._place = uri, place
        self.storages: dict[str, PickledStorage] = {}

    def stand_in(self, name: str) -> Any:
        if name in _STAND_INS:
            return _STAND_INS[name]
        if name in _INERT or name.startswith(_INERT_MODULES):
            return type(name, (Inert,), {})
        raise BackboneError(
            f"{self._uri}: refused, for reading it would call {name}, which no checkpoint of fairseq needs; "
            "fetch the file from a source you trust"
        )

    def persistent_load(self, pid: object) -> PickledStorage:
        key, storage = stored(pid)
        if key not in self.storages:
            self._place(key, storage)
            self.storages[key] = storage
        return self.storages[key]


def check_tensors(tensors: object, where: str) -> dict[str, Tensor]:
    """The tensors of a state dict; they share the file's memory.

    Args:
        tensors: what a checkpoint holds as its state dict.
        where: file and field, for the error.

    Raises:
        BackboneError: it is no mapping of names to tensors, or one of them is larger than its data.
    """
    if not isinstance(tensors, dict) or not all(isinstance(name, str) for name in tensors):
        raise BackboneError(f"{where}: no tensors by name; name a checkpoint that fairseq wrote")
    found = {}
    for name, tensor in tensors.items():
        label = in_ascii(name)
        if not isinstance(tensor, PickledTensor):
            raise BackboneError(f"{where}: {label} is no tensor; name a checkpoint that fairseq wrote")
        try:
            found[name] = tensor.tensor()
        except ValueError as error:
            # A tensor may claim to repeat a few numbers over any size; copying it would fill the memory.
            raise BackboneError(f"{where}: {label} is not a plain tensor: {error}; fetch the file again") from error
    shown = sum(tensor.nbytes for tensor in tensors.values())
    held = {id(tensor.storage): tensor.storage.nbytes for tensor in tensors.values()}
    if shown > _MOST_SHARING * sum(held.values()):
        raise BackboneError(
            f"{where}: its tensors show the same numbers many times; name a checkpoint that fairseq wrote"
        )
    return found


@contextmanager
def _local(uri: str) -> Iterator[Path]:
    """A path of the file; an object in S3 is fetched into a temporary one."""
    if not object_storage.exists(uri):
        folder = not object_storage.is_s3(uri) and Path(uri).is_dir()
        what = "a directory instead of a file" if folder else "there is no such file"
        raise BackboneError(f"{uri}: {what}; name the original file")
    if not object_storage.is_s3(uri):
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="speechprompt-") as directory:
        path = Path(directory) / "file"
        object_storage.download(uri, str(path))
        yield path
