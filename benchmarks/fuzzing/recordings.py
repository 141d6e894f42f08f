"""Recordings to begin with when decoding is fuzzed, and what must hold of whatever becomes of them."""

from __future__ import annotations

import io
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from unittest.mock import patch

import numpy as np
import soundfile
from numpy.typing import NDArray

from task_specs.audio_container.recording import Recording
from task_specs.audio_policy import AudioPolicy
from tests.fixtures.shared_data import SHARED_DATA
from tests.fixtures.tones import babble
from workers.speech.audio import RejectedAudio, decode_fitted, longest_samples, seconds_of
from workers.speech.resampling import resample, source_samples

SAMPLE_RATE: Final = 16_000
POLICIES: Final = (
    AudioPolicy(min_seconds=0.0, max_seconds=0.25),
    AudioPolicy(min_seconds=0.0, max_seconds=0.2, too_long="quarantine"),
    AudioPolicy(min_seconds=0.0, max_seconds=0.2, too_long="window"),
    AudioPolicy(),
)
_KINDS: Final = (
    # format, coding, rate, channels
    ("WAV", "PCM_16", 16_000, 1),
    ("WAV", "PCM_24", 22_050, 2),
    ("WAV", "FLOAT", 16_000, 2),
    ("WAV", "GSM610", 8_000, 1),
    ("WAV", "IMA_ADPCM", 8_000, 1),
    ("WAVEX", "PCM_16", 16_000, 1),
    ("RF64", "PCM_16", 8_000, 1),
    ("FLAC", "PCM_16", 16_000, 1),
    ("FLAC", "PCM_24", 44_100, 2),
    ("OGG", "VORBIS", 16_000, 1),
    ("OGG", "OPUS", 16_000, 1),
    ("MP3", "MPEG_LAYER_III", 16_000, 1),
    ("MP3", "MPEG_LAYER_III", 44_100, 2),
    ("AIFF", "PCM_16", 16_000, 1),
    ("AU", "ULAW", 8_000, 1),
)
_SECONDS_AN_INPUT: Final = 5.0
_MEBIBYTES_AN_INPUT: Final = 512


class Seed(NamedTuple):
    """A whole recording, and its format as soundfile names it."""

    data: bytes
    format: str


class Broken(AssertionError):
    """What must hold of every recording does not."""


def seeds() -> list[Seed]:
    """Real recordings where they are at hand, in every format; synthetic ones elsewhere."""
    found = []
    voices = sorted((SHARED_DATA / "audio").glob("*/**/*.wav"))
    for number, (format_, coding, rate, channels) in enumerate(_KINDS):
        wave = _voice(voices, number, rate)
        buffer = io.BytesIO()
        both = np.stack([np.roll(wave, 5 * channel) for channel in range(channels)], axis=1)
        soundfile.write(buffer, both, rate, format=format_, subtype=coding)
        found.append(Seed(buffer.getvalue(), format_))
    return found


def _voice(paths: list[Path], number: int, rate: int, seconds: float = 0.4) -> NDArray[np.float32]:
    if not paths:
        return babble(number, seconds, sample_rate=rate)
    wave, own_rate = soundfile.read(paths[131 * number % len(paths)], dtype="float32", always_2d=True)
    return resample(wave.mean(axis=1), own_rate, rate)[: round(seconds * rate)]


def check_whole(seed: Seed) -> None:
    """A recording that nobody damaged is what soundfile reads of it.

    Raises:
        Broken: it is not.
    """
    channels, rate = soundfile.read(io.BytesIO(seed.data), dtype="float32", always_2d=True)
    wanted = resample(channels.mean(axis=1), rate, SAMPLE_RATE)
    heard = decode_fitted(seed.data, name="seed", sample_rate=SAMPLE_RATE, policy=AudioPolicy()).wave
    if not np.array_equal(heard, wanted):
        raise Broken(f"{seed.format}: {len(heard)} samples are not the {len(wanted)} of soundfile")


def check(data: bytes, policy: AudioPolicy) -> NDArray[np.float32] | RejectedAudio:
    """What becomes of a recording, of which all holds that must.

    Raises:
        Broken: something does not.
    """
    begin, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = seconds_of(data)
    if seconds is not None and not (np.isfinite(seconds) and seconds >= 0):
        raise Broken(f"its header says {seconds} s")
    with _counted_reads() as reads:
        heard = _outcome(data, policy)
    spent = time.process_time() - begin
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    if spent > _SECONDS_AN_INPUT or grown > _MEBIBYTES_AN_INPUT:
        raise Broken(f"it took {spent:.1f} s and {grown:.0f} MiB")
    longest = longest_samples(policy, SAMPLE_RATE)
    for rate, samples in reads:
        if samples > source_samples(longest, rate, SAMPLE_RATE) + 1:
            raise Broken(f"{samples} samples at {rate} Hz were read for {longest} that are kept")
    if isinstance(heard, RejectedAudio):
        if heard.kind == "fatal" or "; " not in heard.detail:
            raise Broken(f"it was quarantined without a reason: {heard}") from heard.__cause__
        return heard
    if heard.dtype != np.float32 or heard.ndim != 1 or not np.isfinite(heard).all() or not 0 < len(heard) <= longest:
        raise Broken(f"{heard.dtype} {heard.shape}, finite: {np.isfinite(heard).all()}")
    if not heard.flags.owndata and (heard.base is None or heard.base.nbytes > heard.nbytes):
        raise Broken("it is a part of a larger memory")
    return heard


def _outcome(data: bytes, policy: AudioPolicy) -> NDArray[np.float32] | RejectedAudio:
    try:
        return decode_fitted(data, name="input", sample_rate=SAMPLE_RATE, policy=policy).wave
    except RejectedAudio as rejection:
        return rejection


@contextmanager
def _counted_reads() -> Iterator[list[tuple[int, int]]]:
    """The rate of each recording that is opened meanwhile, and how many samples of each channel are read of it."""
    reads: list[tuple[int, int]] = []

    class Counting(Recording):
        def __post_init__(self) -> None:
            reads.append((self.sample_rate, 0))
            read = self.file.read

            def counted(*arguments: object, **options: object) -> NDArray[np.float32]:
                block: NDArray[np.float32] = read(*arguments, **options)
                reads[-1] = (self.sample_rate, reads[-1][1] + len(block))
                return block

            self.file.__dict__["read"] = counted

    with patch("task_specs.audio_container.recording.Recording", Counting):
        yield reads
