"""What may be given as a recording: where it lies, its bytes, an open file, or samples with their rate."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray
from torch import Tensor

from infra import object_storage
from infra.errors import AudioError, StorageError
from task_specs.audio_container.recording import SAMPLE_RATES

__all__ = ["GivenRecording", "Recording", "Waveform", "place_of", "recording"]

_MOST_BYTES: Final = 4 << 30
"""The most that a WAV file can say it has."""
_LOUDEST: Final = 8.0
"""Of float samples; what is louder was never brought to full scale 1.0."""
_SUBTYPES: Final = {"f": "FLOAT", "i2": "PCM_16", "i4": "PCM_32"}


@dataclass(frozen=True, eq=False)
class Waveform:
    """Samples with their rate; they are checked when they are read.

    Attributes:
        samples: a NumPy array or torch tensor, [samples] or [samples, channels]; channels are averaged. Full scale of
            floats is 1.0, of int16 and int32 that of their type.
        sample_rate: samples per second.
    """

    samples: NDArray[Any] | Tensor
    sample_rate: int


GivenRecording: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Waveform"


@dataclass(frozen=True)
class Recording:
    """A recording that can be read.

    Attributes:
        key: what is given twice has the same one.
        name: what it is called in an error.
        read: gives the bytes of an audio file; raises AudioError or StorageError.
    """

    key: Hashable
    name: str = field(compare=False)
    read: Callable[[], bytes] = field(compare=False)


def recording(given: object, number: int) -> Recording:
    """What was given as the recording of this number, from 0; nothing is read yet.

    Raises:
        AudioError: it is nothing that could hold a recording.
        StorageError: it is not a path.
    """
    name = f"recording {number}"
    match given:
        case str() | os.PathLike():
            uri = place_of(given)
            path = str(os.fspath(given))
            return Recording(uri, path, partial(_read_place, uri, path))
        case bytes() | bytearray() | memoryview():
            return Recording(("bytes", id(given)), name, partial(bytes, given))
        case Waveform():
            return Recording(("waveform", id(given)), name, partial(_wav, given, name))
        case np.ndarray() | Tensor():
            raise AudioError(f"{name} is an array without a sample rate; give Waveform(samples, sample_rate)")
        case _ if callable(getattr(given, "read", None)):
            called = getattr(given, "name", None)
            name = called if isinstance(called, str) else name
            # Read once, though several tasks may ask for it.
            return Recording(("file", id(given)), name, cache(partial(_read_file, given, name)))
    raise AudioError(
        f"{name} is of type {type(given).__name__}; give a path or s3:// URI, bytes, an open file, or "
        "Waveform(samples, sample_rate)"
    )


def place_of(given: str | os.PathLike[str]) -> str:
    """The absolute form of a path or URI; a relative one starts from the working directory.

    Raises:
        StorageError: it cannot be one.
    """
    path = os.fspath(given)
    if not isinstance(path, str):
        raise StorageError(f"{path!r} is a path of bytes; name it by text")
    if isinstance(given, PurePath) and path.startswith("s3:/"):
        raise StorageError(f"{path!r}: a Path keeps one slash of s3://; give the URI as text")
    return object_storage.resolve(path, str(Path.cwd()))


def _read_place(uri: str, name: str) -> bytes:
    if not object_storage.is_s3(uri):
        try:
            found = Path(uri).stat()
        except (OSError, ValueError):
            return object_storage.read_bytes(uri)  # which says what is wrong
        if stat.S_ISDIR(found.st_mode):
            raise AudioError(f"{name}: is a directory; name the recordings in it")
        if not stat.S_ISREG(found.st_mode):
            # One would wait for ever, the other never end.
            raise AudioError(f"{name}: is a pipe or a device; save the recording as a file")
        if found.st_size > _MOST_BYTES:
            raise AudioError(f"{name}: has {found.st_size:,} bytes, more than {_MOST_BYTES:,}; cut it into parts")
    return object_storage.read_bytes(uri)


def _read_file(file: Any, name: str) -> bytes:
    try:
        data = file.read()
    except StorageError:
        raise
    except Exception as error:
        raise AudioError(f"{name}: cannot be read ({error}); open it with open(path, 'rb')") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise AudioError(f"{name}: gives {type(data).__name__}, not bytes; open it with open(path, 'rb')")
    return bytes(data)


def _wav(waveform: Waveform, name: str) -> bytes:
    """The samples as a WAV file, so that they are read exactly as that file would be."""
    samples, rate = _samples(waveform, name), waveform.sample_rate
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or rate not in SAMPLE_RATES:
        raise AudioError(
            f"{name}: has a sample rate of {str(rate)[:20]!r}; give a whole number of samples per second, "
            f"{SAMPLE_RATES.start} to {SAMPLE_RATES.stop - 1}"
        )
    subtype = _SUBTYPES.get(samples.dtype.kind) or _SUBTYPES[f"{samples.dtype.kind}{samples.dtype.itemsize}"]
    buffer = io.BytesIO()
    try:
        soundfile.write(buffer, samples, int(rate), format="WAV", subtype=subtype)
    except (soundfile.LibsndfileError, ValueError) as error:
        raise AudioError(f"{name}: cannot be taken ({error}); give fewer samples or channels") from error
    return buffer.getvalue()


def _samples(waveform: Waveform, name: str) -> NDArray[Any]:
    """The samples, float32, int16 or int32, [samples] or [samples, channels]."""
    given: Any = waveform.samples
    try:
        samples = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AudioError(f"{name}: its samples are no array ({error}); give float32 or int16") from error
    kind = samples.dtype.kind
    if kind != "f" and f"{kind}{samples.dtype.itemsize}" not in _SUBTYPES:
        raise AudioError(f"{name}: its samples are {samples.dtype}; give float32, int16 or int32")
    if samples.ndim not in (1, 2):
        raise AudioError(f"{name}: its samples have {samples.ndim} dimensions; give [samples] or [samples, channels]")
    if samples.size == 0:
        raise AudioError(f"{name}: it holds no samples; leave it out")
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise AudioError(f"{name}: it has {samples.shape[1]} channels of {len(samples)} samples; give samples.T")
    if kind == "f":
        # NaN is not below anything.
        if not (peak := float(np.abs(samples).max())) <= _LOUDEST:
            fault = f"reach {peak:g}" if np.isfinite(peak) else "are not all finite numbers"
            raise AudioError(f"{name}: its samples {fault}; bring them between -1.0 and 1.0")
        samples = samples.astype(np.float32)
    return samples
