"""What callers hand to a classifier besides recordings, taken or refused in one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infra.errors import DatasetError, InputError
from workers.inference.recording import Waveform
from workers.speech.unit_prosody import UnitProsody


def listed(values: object, what: str) -> list[Any]:
    """The entries of a list, a tuple, or anything else that has an order.

    Args:
        values: what was given.
        what: it should hold, in the plural.

    Raises:
        InputError: it is one entry and no list, or has no order.
    """
    alone = isinstance(values, str | bytes | bytearray | memoryview | os.PathLike | Waveform) or hasattr(values, "read")
    zero_dimensional = isinstance(values, np.ndarray | Tensor) and values.ndim == 0
    if alone or zero_dimensional or not isinstance(values, Iterable):
        raise InputError(f"{what} must be a list, not one {type(values).__name__}; put it in brackets")
    if isinstance(values, Mapping | Set):
        raise InputError(f"{what} must be a list, not a {type(values).__name__}; answers come in the order of a list")
    return list(values)


def one_each(values: object, what: str, count: int, of: str) -> list[str | None]:
    """A name or ``None`` for each of ``count`` things.

    Raises:
        InputError: there are more or fewer, or one is no text.
    """
    if values is None:
        return [None] * count
    names = listed(values, what)
    if len(names) != count:
        raise InputError(f"there are {count} {of}, but {len(names)} {what}; give one for each, or leave {what} out")
    for name in names:
        if name is not None and not isinstance(name, str):
            raise InputError(f"{what} holds a {type(name).__name__}; give text, or None")
    return names


def unit_sequence(values: object, number: int, *, units: int) -> NDArray[np.int16]:
    """The units of an utterance, int16 [T].

    Args:
        values: a list, array or tensor of whole numbers.
        number: of the utterance, from 0.
        units: how many the backbone has.

    Raises:
        DatasetError: there are none, or something else than its units.
    """
    name, remedy = f"utterance {number}", "give units of the backbone's own tokenizer, such as [[3, 1, 4], [1, 5]]"
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise DatasetError(f"{name} is of type {type(values).__name__}, not a list of units; {remedy}")
    try:
        found = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        found = found if isinstance(found, np.ndarray) else list(found)
        truth = isinstance(found, list) and any(isinstance(entry, bool | np.bool_) for entry in found)
        array = np.asarray(found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DatasetError(f"{name} is not a list of units ({error}); {remedy}") from error
    if array.size == 0:
        raise DatasetError(f"{name} has no units, where the backbone's are 0 to {units - 1}; leave it out")
    if array.ndim != 1 or array.dtype.kind not in "iu" or truth:
        shown = "truth values" if truth else f"{array.dtype} {list(array.shape)}"
        raise DatasetError(f"{name} holds {shown}, not whole numbers [T]; {remedy}")
    # A negative number would pass as an index from the end.
    if (least := int(array.min())) < 0 or (most := int(array.max())) >= units:
        wrong = least if least < 0 else most
        raise DatasetError(f"{name} holds {wrong}, but units of the backbone are 0 to {units - 1}; {remedy}")
    return array.astype(np.int16)


def prosody_of(values: object, units: Sequence[NDArray[np.int16]]) -> list[UnitProsody] | None:
    """The prosody of each utterance.

    Raises:
        DatasetError: it is none, or does not fit the units.
    """
    if values is None:
        return None
    found = listed(values, "prosody")
    if len(found) != len(units):
        raise InputError(f"there are {len(units)} utterances, but prosody of {len(found)}; give one for each")
    for number, (prosody, sequence) in enumerate(zip(found, units, strict=True)):
        if not isinstance(prosody, UnitProsody):
            raise DatasetError(f"prosody of utterance {number} is a {type(prosody).__name__}; give UnitProsody")
        if not len(prosody.durations) == len(prosody.f0) == len(sequence):
            raise DatasetError(f"prosody of utterance {number} is not of its {len(sequence)} units; give one of each")
    return found


def check_probability(value: object, what: str) -> None:
    """Raises ``InputError`` for anything but a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"{what} must be a probability, not {value!r}; give a number from 0 to 1")


def device_of(given: object) -> torch.device:
    """A device that can be computed on.

    Raises:
        InputError: there is none of this name, or it is not at hand.
    """
    try:
        device: torch.device = torch.device(given)  # type: ignore[call-overload]
        if device.type == "meta":
            raise ValueError("it computes nothing")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise InputError(f"device {given!r} cannot be used ({reason}); name cpu, or cuda where there is one") from error
    return device
