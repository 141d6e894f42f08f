"""What one tokenizing worker does with one batch of clips: read, decode, encode, write a shard."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from infra import object_storage
from infra.errors import DatasetError, ObjectNotFound
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from task_specs.table_audio import read_recording
from workers.speech.audio import RejectedAudio, apply_policy, decode
from workers.speech.f0 import F0Settings
from workers.speech.tokenizer import Tokenizer
from workers.speech.unit_cache import Cached, Quarantined, UnitCache
from workers.speech.utterance import encode_utterances

# Object storage answers slowly and in parallel.
READERS: Final = 8


@dataclass(frozen=True)
class Work:
    """One clip to tokenize.

    Attributes:
        key: its name in the unit cache.
        audio_sha256: digest that its file had when the key was made.
        clip: where it is.
        policy: how long it may be.
    """

    key: str
    audio_sha256: str
    clip: Clip
    policy: AudioPolicy


@dataclass(frozen=True)
class Outcome:
    """What became of one clip.

    Attributes:
        key: its name in the unit cache.
        shard: the shard of the unit cache that holds the result; ``None`` where nothing was stored.
        seconds: audio that was tokenized.
        failure: why nothing was stored: the file could not be had, which is no property of its content.
    """

    key: str
    shard: str | None
    seconds: float
    failure: Quarantined | None


def read_audio(uri: str) -> bytes:
    """The bytes of a recording, a file or a part of a table.

    Raises:
        RejectedAudio: nothing is there, or the table is damaged there.
        StorageError: the location cannot be read.
    """
    try:
        return read_recording(uri)
    except DatasetError as error:
        raise RejectedAudio(uri, "unreadable", str(error)) from error
    except ObjectNotFound as error:
        where = "" if object_storage.is_s3(uri) else f" on {socket.gethostname()}"
        remedy = "" if object_storage.is_s3(uri) else "; a cluster's workers see local paths only on a shared disk"
        raise RejectedAudio(uri, "missing", f"no such file{where}{remedy}") from error


def load_clip(data: bytes, clip: Clip, *, sample_rate: int, policy: AudioPolicy) -> NDArray[np.float32]:
    """The waveform of a clip, float32 [samples], cut and fitted to the policy.

    Raises:
        RejectedAudio: it cannot be decoded, or its length is outside the policy.
    """
    wave = decode(data, name=clip.uri, sample_rate=sample_rate, start=clip.start, end=clip.end)
    return apply_policy(wave, sample_rate=sample_rate, policy=policy, name=clip.uri)


class TokenizeBatch:
    """Args:
    tokenizer: audio to units.
    cache: where the units go; made for the same F0 settings.
    f0: how their pitch is tracked; ``None`` means units without pitch.
    """

    def __init__(self, tokenizer: Tokenizer, cache: UnitCache, f0: F0Settings | None = None) -> None:
        self._tokenizer = tokenizer
        self._cache = cache
        self._f0 = f0

    def __call__(self, batch: Sequence[Work]) -> list[Outcome]:
        """Tokenizes the clips and stores all results, good and bad, in one shard.

        Raises:
            BackboneError: a frame of the tokenizer is no whole number of F0 values.
            MissingExtra: pitch is asked for, and amfm-decompy is not installed.
            StorageError: audio or cache cannot be reached.
        """
        with ThreadPoolExecutor(READERS) as pool:
            loaded = list(pool.map(self._load, batch))
        results: dict[str, Cached] = {}
        seconds: dict[str, float] = {}
        failures: dict[str, Quarantined] = {}
        waves: dict[str, NDArray[np.float32]] = {}
        for work, wave in zip(batch, loaded, strict=True):
            if not isinstance(wave, RejectedAudio):
                waves[work.key] = wave
            elif wave.kind == "missing":
                failures[work.key] = Quarantined(wave.kind, wave.detail)
            else:
                results[work.key] = Quarantined(wave.kind, wave.detail)
        window_seconds = {work.key: work.policy.window_seconds for work in batch}
        utterances = encode_utterances(
            self._tokenizer, list(waves.values()), self._f0, [window_seconds[key] for key in waves]
        )
        for (key, wave), units in zip(waves.items(), utterances, strict=True):
            if len(units):
                results[key] = units
                seconds[key] = len(wave) / self._tokenizer.sample_rate
            else:
                results[key] = Quarantined("too short", "shorter than one frame of the tokenizer; remove its row")
        shard = self._cache.add(results) if results else None
        return [
            Outcome(
                work.key,
                shard if work.key in results else None,
                seconds.get(work.key, 0.0),
                failures.get(work.key),
            )
            for work in batch
        ]

    def _load(self, work: Work) -> NDArray[np.float32] | RejectedAudio:
        try:
            data = read_audio(work.clip.uri)
            if hashlib.sha256(data).hexdigest() != work.audio_sha256:
                detail = "the file changed while it was being tokenized; run again once it is complete"
                return RejectedAudio(work.clip.uri, "missing", detail)
            return load_clip(data, work.clip, sample_rate=self._tokenizer.sample_rate, policy=work.policy)
        except RejectedAudio as rejection:
            return rejection
