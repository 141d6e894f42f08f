"""What one tokenizing worker does with one batch of clips: read, decode, compute units or features, write a shard."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from infra.errors import BackboneError, SpeechPromptError
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from workers.speech.audio import Heard, RejectedAudio, decode_fitted
from workers.speech.f0 import F0Settings
from workers.speech.feature_cache import FeatureCache, Features
from workers.speech.reading import READERS, read_audio
from workers.speech.tokenizer import OffersFeatures, Tokenizer
from workers.speech.unit_cache import Cached, Quarantined, UnitCache
from workers.speech.utterance import encode_utterances

_HELD_SAMPLES: Final = 1 << 27
"""Of waveforms before they are encoded, half a gigabyte: as long as clips are at most two minutes a batch has fewer."""

# What is no property of the bytes is tried again in the next run.
_PASSING: Final = ("missing", "fatal")


@dataclass(frozen=True)
class Work:
    """One clip to tokenize.

    Attributes:
        key: its name in the cache.
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
        key: its name in the cache.
        shard: the shard of the cache that holds the result; ``None`` where nothing was stored.
        seconds: audio that was computed with.
        failure: why nothing was stored, which is no property of the file's content: it could not be had, or whoever
        worked on it failed.
    """

    key: str
    shard: str | None
    seconds: float
    failure: Quarantined | None


def load_clip(data: bytes, clip: Clip, *, sample_rate: int, policy: AudioPolicy) -> NDArray[np.float32]:
    """The waveform of a clip, float32 [samples], cut and fitted to the policy.

    Raises:
        RejectedAudio: it cannot be decoded, or its length is outside the policy.
    """
    return _heard(data, clip, sample_rate=sample_rate, policy=policy).wave


def _heard(data: bytes, clip: Clip, *, sample_rate: int, policy: AudioPolicy) -> Heard:
    return decode_fitted(data, name=clip.uri, sample_rate=sample_rate, policy=policy, start=clip.start, end=clip.end)


_Result = TypeVar("_Result")


class ClipBatch(ABC, Generic[_Result]):
    """Computes something of clips, and stores it.

    Args:
        sample_rate: of the waveforms that are computed with.
        what: is computed, for errors.
    """

    def __init__(self, sample_rate: int, what: str) -> None:
        self._sample_rate, self._what = sample_rate, what

    @abstractmethod
    def _computed(self, clips: Sequence[tuple[Work, Heard]]) -> list[_Result]:
        """The result of each clip."""

    @abstractmethod
    def _refused(self, heard: RejectedAudio) -> _Result | None:
        """What is stored of a clip that cannot be had or decoded; ``None`` for nothing."""

    @abstractmethod
    def _stored(self, results: Mapping[str, _Result]) -> str:
        """Stores results by key, and returns the name of their shard."""

    def __call__(self, batch: Sequence[Work]) -> list[Outcome]:
        """Computes the clips and stores all results in one shard.

        Raises:
            BackboneError: a frame of the tokenizer is no whole number of F0 values.
            MissingExtra: pitch is asked for, and amfm-decompy is not installed.
            StorageError: audio or cache cannot be reached.
        """
        results: dict[str, _Result] = {}
        seconds: dict[str, float] = {}
        failures: dict[str, Quarantined] = {}
        waiting: list[tuple[Work, Heard]] = []
        for work, heard in self._loaded(batch):
            if isinstance(heard, RejectedAudio):
                if (refused := self._refused(heard)) is None:
                    failures[work.key] = Quarantined(heard.kind, heard.detail)
                else:
                    results[work.key] = refused
                continue
            waiting.append((work, heard))
            seconds[work.key] = len(heard.wave) / self._sample_rate
            if sum(len(other.wave) for _, other in waiting) > _HELD_SAMPLES:
                self._compute(waiting, results, failures)
                waiting = []
        self._compute(waiting, results, failures)
        shard = self._stored(results) if results else None
        return [
            Outcome(
                work.key,
                shard if work.key in results else None,
                0.0 if isinstance(results.get(work.key, failures.get(work.key)), Quarantined) else seconds[work.key],
                failures.get(work.key),
            )
            for work in batch
        ]

    def _loaded(self, batch: Sequence[Work]) -> Iterator[tuple[Work, Heard | RejectedAudio]]:
        """The clips in turn; recordings that are cut into windows are decoded one by one, for they may be long."""
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(batch), READERS):
                works = batch[start : start + READERS]
                long = any(work.policy.too_long == "window" for work in works)
                yield from zip(
                    works, (map if long else pool.map)(self._load, works, pool.map(_read, works)), strict=True
                )

    def _load(self, work: Work, data: bytes | RejectedAudio) -> Heard | RejectedAudio:
        if isinstance(data, RejectedAudio):
            return data
        try:
            return _heard(data, work.clip, sample_rate=self._sample_rate, policy=work.policy)
        except RejectedAudio as rejection:
            return rejection

    def _compute(
        self,
        clips: Sequence[tuple[Work, Heard]],
        results: dict[str, _Result],
        failures: dict[str, Quarantined],
    ) -> None:
        """Puts the results of clips into ``results``, or why a clip has none into ``failures``."""
        if not clips:
            return
        try:
            computed = self._computed(clips)
        except SpeechPromptError:
            raise
        except Exception as error:  # noqa: BLE001  of one clip; the others are not to blame
            if len(clips) > 1:
                for clip in clips:
                    self._compute([clip], results, failures)
                return
            detail = f"its {self._what} could not be computed ({type(error).__name__}: {error}); remove its row"
            failures[clips[0][0].key] = Quarantined("fatal", detail)
            return
        results.update(zip((work.key for work, _ in clips), computed, strict=True))


class TokenizeBatch(ClipBatch[Cached]):
    """Args:
    tokenizer: audio to units.
    cache: where the units go, and why clips have none; made for the same F0 settings.
    f0: how their pitch is tracked; ``None`` means units without pitch.
    """

    def __init__(self, tokenizer: Tokenizer, cache: UnitCache, f0: F0Settings | None = None) -> None:
        super().__init__(tokenizer.sample_rate, "units")
        self._tokenizer, self._cache, self._f0 = tokenizer, cache, f0

    def _computed(self, clips: Sequence[tuple[Work, Heard]]) -> list[Cached]:
        waves = [heard.wave for _, heard in clips]
        utterances = encode_utterances(
            self._tokenizer, waves, self._f0, [work.policy.window_seconds for work, _ in clips]
        )
        return [
            replace(units, note=heard.note)
            if len(units)
            else Quarantined("too short", "shorter than one frame of the tokenizer; remove its row")
            for (_, heard), units in zip(clips, utterances, strict=True)
        ]

    def _refused(self, heard: RejectedAudio) -> Quarantined | None:
        return None if heard.kind in _PASSING else Quarantined(heard.kind, heard.detail)

    def _stored(self, results: Mapping[str, Cached]) -> str:
        return self._cache.add(results)


class FeatureBatch(ClipBatch[Features]):
    """Args:
    tokenizer: whose features are computed.
    cache: where their means go.
    """

    def __init__(self, tokenizer: Tokenizer, cache: FeatureCache) -> None:
        super().__init__(tokenizer.sample_rate, "features")
        if not isinstance(tokenizer, OffersFeatures):
            raise BackboneError(f"the tokenizer {tokenizer.kind} offers no features; leave out what needs them")
        self._tokenizer, self._cache = tokenizer, cache

    def _computed(self, clips: Sequence[tuple[Work, Heard]]) -> list[Features]:
        return self._tokenizer.mean_features([heard.wave for _, heard in clips])

    def _refused(self, heard: RejectedAudio) -> None:  # noqa: ARG002
        return None

    def _stored(self, results: Mapping[str, Features]) -> str:
        return self._cache.add(results)


def _read(work: Work) -> bytes | RejectedAudio:
    try:
        data = read_audio(work.clip.uri)
    except RejectedAudio as rejection:
        return rejection
    if hashlib.sha256(data).hexdigest() != work.audio_sha256:
        detail = "the file changed while it was being tokenized; run again once it is complete"
        return RejectedAudio(work.clip.uri, "missing", detail)
    return data
