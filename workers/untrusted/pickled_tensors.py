"""Stand-ins for what torch puts into pickles: which part of which storage a tensor shows.

Nothing of a tensor exists before ``PickledTensor.tensor``, which compares what it claims with the bytes that are there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workers.untrusted.pickles import Inert

_STORAGES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
_UNTYPED = ("torch.UntypedStorage", "torch.storage.UntypedStorage")
_MOST_DIMENSIONS, _LARGEST_SIDE = 32, 1 << 40


@dataclass(eq=False)
class PickledStorage:
    """Numbers of one kind, one after the other.

    Attributes:
        dtype: their kind.
        count: how many there are.
        data: of the whole file, mapped copy-on-write; ``None`` until it is known where the numbers are.
        start: where they begin in it, in bytes.
        swapped: whether they are in the other byte order than this machine's.
    """

    dtype: torch.dtype
    count: int
    data: Any = None
    start: int = 0
    swapped: bool = False

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize

    def flat(self) -> Tensor:
        """Its numbers, [count]; they share the file's memory.

        Raises:
            ValueError: the file does not hold them.
        """
        if self.data is None or self.start + self.nbytes > len(self.data):
            raise ValueError("its numbers are not in the file")
        if not self.count:
            return torch.empty(0, dtype=self.dtype)
        if not self.swapped or self.dtype.itemsize == 1:
            return torch.frombuffer(self.data, dtype=self.dtype, count=self.count, offset=self.start)
        whole = np.frombuffer(self.data, dtype=f"i{self.dtype.itemsize}", count=self.count, offset=self.start)
        return torch.from_numpy(whole.byteswap()).view(self.dtype)


class PickledTensor(Inert):
    """``torch.Tensor``."""

    storage: PickledStorage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers, had each its own place."""
        return math.prod(self.size) * self.storage.dtype.itemsize

    def tensor(self) -> Tensor:
        """Its numbers, on the CPU; they share the file's memory.

        Raises:
            ValueError: they are not in the file, or it claims more numbers than its storage has.
        """
        last = self.offset + sum((side - 1) * step for side, step in zip(self.size, self.stride, strict=True))
        if self.nbytes > self.storage.nbytes or (self.nbytes and last >= self.storage.count):
            raise ValueError(f"it shows more than the {self.storage.count} numbers of its data")
        return self.storage.flat().as_strided(self.size, self.stride, self.offset)


def rebuild_tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> PickledTensor:
    """``torch._utils._rebuild_tensor_v2``, and the one before it.

    Raises:
        ValueError: it describes no tensor.
    """
    if not isinstance(storage, PickledStorage):
        raise ValueError("a tensor without data")
    made = PickledTensor()
    made.storage, made.size, made.stride = storage, _sides(size), _sides(stride)
    [made.offset] = _sides((offset,))
    if len(made.size) != len(made.stride):
        raise ValueError("a tensor of impossible sizes")
    return made


def _sides(numbers: object) -> tuple[int, ...]:
    if not isinstance(numbers, tuple) or len(numbers) > _MOST_DIMENSIONS:
        raise ValueError("a tensor of impossible sizes")
    if not all(type(number) is int and 0 <= number < _LARGEST_SIDE for number in numbers):
        raise ValueError("a tensor of impossible sizes")
    return numbers


def rebuild_parameter(tensor: object, *_: object) -> object:
    """``torch._utils._rebuild_parameter``."""
    return tensor


def rebuild_with_attributes(function: object, _kind: object, arguments: object, _state: object) -> object:
    """``torch._tensor._rebuild_from_type_v2``: a tensor that somebody hung attributes on; they are left out.

    Raises:
        ValueError: it is none.
    """
    if function not in _REBUILDERS or not isinstance(arguments, tuple):
        raise ValueError("a tensor of an unknown kind")
    made: object = function(*arguments)
    return made


def stored(place: object) -> tuple[str, PickledStorage]:
    """Key and storage of what ``torch.save`` writes in place of a storage.

    Args:
        place: ``("storage", kind, key, device, count)``; before torch 1.6 with a sixth, of views.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(place, str):
        raise ValueError("pickle protocol 0, which has no room for tensors; save it again with protocol 2")
    if not isinstance(place, tuple) or len(place) not in (5, 6) or place[0] != "storage":
        raise ValueError("a whole module instead of its tensors")
    _, dtype, key, _, count, *view = place
    known = (
        isinstance(dtype, torch.dtype) and isinstance(key, str) and type(count) is int and 0 <= count < _LARGEST_SIDE
    )
    if not known or (view and view[0] is not None):
        raise ValueError("a storage of an unknown kind")
    return key, PickledStorage(dtype, count)


_REBUILDERS = (rebuild_tensor, rebuild_parameter)
TORCH_STAND_INS: dict[str, Any] = {
    "torch._utils._rebuild_tensor": rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_parameter": rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": rebuild_parameter,
    "torch._tensor._rebuild_from_type_v2": rebuild_with_attributes,
    "torch.Size": lambda sides=(): tuple(sides),
    **{f"torch.{kind}Storage": dtype for kind, dtype in _STORAGES.items()},
    **dict.fromkeys(_UNTYPED, torch.uint8),
    **{str(dtype): dtype for dtype in _STORAGES.values()},
    **dict.fromkeys(("torch.Tensor", "torch.nn.parameter.Parameter", "torch.device"), Inert),
}
"""What stands in for each name that tensors are written with."""
