"""Text to speech with espeak-ng in this process, with the library and voices of the ``espeakng-loader`` wheel."""

from __future__ import annotations

import ctypes
import importlib
import tempfile
import threading
from _ctypes import dlclose
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infra.errors import InputError, MissingExtra, SpeechPromptError

__all__ = ["synthesize"]

# Numbers of espeak-ng's speak_lib.h and espeak_ng.h.
RATE, VOLUME, PITCH, PITCH_RANGE = 1, 2, 3, 4
LIMITS = {RATE: (80, 450), VOLUME: (0, 200), PITCH: (0, 99), PITCH_RANGE: (0, 99)}
NAMES = {RATE: "rate", VOLUME: "volume", PITCH: "pitch", PITCH_RANGE: "pitch_range"}
OUTPUT_SYNCHRONOUS = 1
POSITION_IS_CHARACTER = 1
TEXT_IS_UTF8 = 1
# espeak-ng keeps its data path in a buffer of 160 bytes; for a longer one it falls back to its build machine's path.
LONGEST_DATA_PATH = 120

SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

# The library keeps its state in global variables.
_one_engine = threading.Lock()


def synthesize(
    text: str,
    *,
    language: str,
    variant: str,
    rate: int = 175,
    pitch: int = 50,
    pitch_range: int = 50,
    volume: int = 60,
) -> tuple[NDArray[np.float32], int]:
    """Speak ``text``; the same arguments always give the same samples.

    Variants whose file says ``klatt`` are an exception: they take noise from the C library's ``rand``.

    Args:
        language: espeak-ng's name of the language, such as ``en`` or ``lt``.
        variant: espeak-ng's name of the voice variant, such as ``m3`` or ``Annie``.
        rate: words per minute, 80 to 450.
        pitch: base pitch, 0 to 99; 50 is the variant's own, and the ends are one octave away.
        pitch_range: range of the intonation, 0 (monotone) to 99; 50 is the variant's own.
        volume: 0 to 200; many variants clip above 60.

    Returns:
        Samples between -1 and 1, float32 [samples], and the sample rate in Hz.

    Raises:
        InputError: espeak-ng does not have the language or variant, or a number is outside its range.
        MissingExtra: ``espeakng-loader`` is not installed.
        SpeechPromptError: espeak-ng cannot start.
    """
    parameters = {RATE: rate, VOLUME: volume, PITCH: pitch, PITCH_RANGE: pitch_range}
    for parameter, value in parameters.items():
        lowest, highest = LIMITS[parameter]
        if not lowest <= value <= highest:
            raise InputError(f"speech: {NAMES[parameter]} is {value}; give a number from {lowest} to {highest}")
    chunks: list[bytes] = []

    def collect(samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = SynthCallback(collect)
    with _one_engine, _engine() as (library, data):
        # espeak-ng ignores unknown variants silently.
        if not (data / "voices" / "!v" / variant).is_file():
            raise InputError(f"speech: espeak-ng has no voice variant {variant!r}; see its voices/!v directory")
        if library.espeak_SetVoiceByName(f"{language}+{variant}".encode()) != 0:
            raise InputError(f"speech: espeak-ng has no language {language!r}; give one such as 'en' or 'lt'")
        library.espeak_SetSynthCallback(callback)
        for parameter, value in parameters.items():
            library.espeak_SetParameter(parameter, value, 0)
        encoded = text.encode() + b"\0"
        status = library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded)), 0, POSITION_IS_CHARACTER, 0, TEXT_IS_UTF8, None, None
        )
        if status != 0:
            raise SpeechPromptError(f"espeak-ng could not speak {text!r} (status {status}); try a shorter text")
        sample_rate = int(library.espeak_ng_GetSampleRate())
    samples = np.frombuffer(b"".join(chunks), dtype=np.int16)
    return samples.astype(np.float32) / np.float32(32768), sample_rate


@contextmanager
def _engine() -> Iterator[tuple[ctypes.CDLL, Path]]:
    """Load the library anew; yield it and its data directory.

    Pitch flutter, filter state and noise are in static variables that neither a new voice nor ``espeak_Terminate``
    resets, so that a clip would depend on all clips before it. Loading the library anew resets them, and takes half a
    millisecond.
    """
    try:
        loader = importlib.import_module("espeakng_loader")
    except ImportError as error:
        raise MissingExtra("espeakng_loader", "demo") from error
    data = Path(loader.get_data_path())
    with tempfile.TemporaryDirectory(prefix="espeak-") as short:
        path = data
        if len(str(data).encode()) > LONGEST_DATA_PATH:
            path = Path(short) / "espeak-ng-data"
            path.symlink_to(data, target_is_directory=True)
        library = ctypes.CDLL(loader.get_library_path())
        try:
            library.espeak_ng_InitializePath(str(path).encode())
            status = library.espeak_ng_Initialize(None)
            if status == 0:
                status = library.espeak_ng_InitializeOutput(OUTPUT_SYNCHRONOUS, 0, None)
            if status != 0:
                raise SpeechPromptError(
                    f"espeak-ng cannot use its data in {data} (status {status}); reinstall espeakng-loader"
                )
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            yield library, data
        finally:
            library.espeak_ng_Terminate()
            dlclose(library._handle)
