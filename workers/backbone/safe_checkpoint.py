"""Files of ``torch.save`` by unknown hands, read without running anything they hold.

Torch's weights-only reader builds tensors and plain containers. The few other names that fairseq's checkpoints
hold stand here, each replaced by an inert record, so that neither fairseq nor omegaconf is needed. Any other name is
an error that says which.
"""

from __future__ import annotations

import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from infra import object_storage
from infra.errors import BackboneError
from workers.inert import Inert
from workers.pickled_arrays import NUMPY_STAND_INS
from workers.pickled_names import pickled_names

# Torch rebuilds these itself.
_OF_TORCH: Final = frozenset(
    {
        "_codecs.encode",
        "collections.OrderedDict",
        "torch.Size",
        "torch.device",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        *(f"torch.{kind}Storage" for kind in ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half")),
        *(f"torch.{kind}Storage" for kind in ("Int", "Long", "Short")),
        *(f"torch.{kind}" for kind in ("bfloat16", "bool", "float16", "float32", "float64", "int32", "int64")),
    }
)
_INERT: Final = frozenset(
    {
        "argparse.Namespace",
        "collections.defaultdict",
        "fairseq.data.dictionary.Dictionary",
        "typing.Any",
        *(f"builtins.{kind}" for kind in ("bool", "dict", "float", "int", "list", "object", "str", "tuple")),
        *(f"omegaconf.base.{kind}" for kind in ("ContainerMetadata", "Metadata")),
        "omegaconf.dictconfig.DictConfig",
        "omegaconf.listconfig.ListConfig",
        *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "Boolean", "Enum", "Float", "Integer", "String", "Union")),
        "omegaconf.nodes.ValueNode",
    }
)
# Types of settings and meters, of which a checkpoint may hold any.
_INERT_MODULES: Final = ("fairseq.dataclass.", "fairseq.logging.meters.", "fairseq.meters.")
_NAME_IN_MESSAGE = re.compile(r"GLOBAL (\S+)")
_SHOWN = 5
_PICKLES_BEFORE_DATA = 5
"""A file from before torch 1.6 holds a magic number, a version, facts of the machine, the object, and storage keys."""


def read_torch_file(uri: str) -> Any:
    """The object in a file of ``torch.save``, local or S3; its tensors are on the CPU.

    Both layouts are read, zip and the one from before torch 1.6.

    Raises:
        BackboneError: there is no such file; it is damaged; it holds anything but tensors, plain values and the few
            records that fairseq writes, and then the error names it.
        StorageError: the place cannot be read.
    """
    with _local(uri) as path:
        stand_ins = _check_names(path, uri)
        try:
            with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
                # Torch remarks on unusual pickles, which are either read or refused below.
                warnings.simplefilter("ignore")
                return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
        except Exception as error:
            # A damaged file makes torch raise nearly any kind of error.
            named = _NAME_IN_MESSAGE.search(str(error))
            if named:
                raise _refused(uri, [ascii(named[1])[1:-1][:100]]) from error
            raise BackboneError(
                f"{uri}: not a complete file of torch.save ({type(error).__name__}); fetch it again"
            ) from error


def check_tensors(tensors: object, where: str) -> dict[str, Tensor]:
    """The tensors of a state dict, all of them plain ones that own what they show.

    Args:
        tensors: what a checkpoint holds as its state dict.
        where: file and field, for the error.

    Raises:
        BackboneError: it is no mapping of names to tensors, or one of them is sparse, on no device, or larger than
            its data.
    """
    if not isinstance(tensors, dict) or not all(isinstance(name, str) for name in tensors):
        raise BackboneError(f"{where}: no tensors by name; name a checkpoint that fairseq wrote")
    found = {}
    for name, tensor in tensors.items():
        label = ascii(name)[1:-1][:80]
        if type(tensor) not in (Tensor, nn.Parameter):
            raise BackboneError(f"{where}: {label} is no tensor; name a checkpoint that fairseq wrote")
        tensor = tensor.detach()
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        # A tensor may claim to repeat a few numbers over any size; copying it would fill the memory.
        if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise BackboneError(f"{where}: {label} is not a plain tensor with data of its own; fetch the file again")
        found[name] = tensor
    return found


def _check_names(path: Path, uri: str) -> list[Any]:
    """Refuse a file that names what it should not; the stand-ins for what it may name."""
    stand_ins: list[Any] = []
    refused: list[str] = []
    for name in dict.fromkeys(_names(path, uri)):
        if name in NUMPY_STAND_INS:
            stand_ins.append((NUMPY_STAND_INS[name], name))
        elif name in _INERT or name.startswith(_INERT_MODULES):
            stand_ins.append((type(name, (Inert,), {}), name))
        elif name not in _OF_TORCH:
            refused.append(name)
    if refused:
        raise _refused(uri, refused)
    return stand_ins


def _refused(uri: str, names: list[str]) -> BackboneError:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return BackboneError(
        f"{uri}: refused, for reading it would call {', '.join(names[:_SHOWN])}{more}, which no checkpoint of fairseq "
        "needs; fetch the file from a source you trust"
    )


def _names(path: Path, uri: str) -> Iterator[str]:
    if not _is_zip(path):
        with path.open("rb") as file:
            yield from chain.from_iterable(pickled_names(file) for _ in range(_PICKLES_BEFORE_DATA))
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            # torch.save compresses nothing; a small file that unpacks into a huge one is no work of its.
            if sum(member.file_size for member in members) > path.stat().st_size:
                raise BackboneError(f"{uri}: compressed, which torch.save never does; fetch the original file")
            for member in members:
                if member.filename.endswith("data.pkl"):
                    with archive.open(member) as file:
                        yield from pickled_names(file)
    except BackboneError:
        raise
    except Exception as error:
        # A damaged archive makes zipfile raise nearly any kind of error, of which its documentation names a few.
        raise BackboneError(f"{uri}: a damaged zip archive; fetch it again") from error


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return True  # one that is damaged, as its reader will say


@contextmanager
def _local(uri: str) -> Iterator[Path]:
    """A path of the file; an object in S3 is fetched into a temporary one."""
    if not object_storage.exists(uri):
        raise BackboneError(f"{uri}: there is no such file; name the original file")
    if not object_storage.is_s3(uri):
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="speechprompt-") as directory:
        path = Path(directory) / "file"
        object_storage.download(uri, str(path))
        yield path
