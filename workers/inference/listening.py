"""From recordings to units, each by itself: what is wrong with one is its own error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infra.errors import AudioError, BackboneError, MissingExtra, SpeechPromptError
from task_specs.audio_policy import AudioPolicy
from workers.inference.explaining import Window
from workers.inference.recording import Recording
from workers.speech.audio import decode_fitted
from workers.speech.f0 import F0Settings
from workers.speech.tokenizer import Tokenizer
from workers.speech.units import Units
from workers.speech.utterance import encode_utterances


@dataclass(frozen=True)
class Spoken:
    """What is heard in a clip.

    Attributes:
        units: of all its windows.
        seconds: length of what was heard.
        policy: into how long windows it was cut.
        frame_seconds: time between two frames.
    """

    units: Units
    seconds: float
    policy: AudioPolicy
    frame_seconds: float

    @property
    def windows(self) -> list[Window]:
        """The windows, with the time of each unit."""
        spans, longest = self.units.spans, self.policy.window_seconds
        last = 0.0 if longest is None else max(0.0, self.seconds - longest)
        begins = np.linspace(0, last, len(spans))
        ends = [np.cumsum(self.units.durations[slice(*span)]) * self.frame_seconds for span in spans]
        return [
            Window(self.units.units[slice(*span)], begin + np.stack([np.insert(end[:-1], 0, 0.0), end], axis=1))
            for span, begin, end in zip(spans, begins, ends, strict=True)
        ]


class Clip(NamedTuple):
    """A recording as a task hears it: tasks have limits of length of their own."""

    recording: Recording
    policy: AudioPolicy
    speaker: str | None


def listen(
    clips: Sequence[Clip], tokenizer: Tokenizer, f0: F0Settings | None, *, stop_at_error: bool
) -> list[Spoken | SpeechPromptError]:
    """What is heard in each clip, or what is wrong with it.

    Args:
        clips: what to hear.
        tokenizer: audio to units.
        f0: how pitch is tracked; ``None``: it is not.
        stop_at_error: whether to raise the first error instead.

    Raises:
        BackboneError: the tokenizer is not at hand, whatever the clips are.
        MissingExtra: that of F0 is not installed.
    """
    waves: list[NDArray[np.float32] | SpeechPromptError] = []
    for clip in clips:
        try:
            waves.append(_wave(clip, tokenizer.sample_rate))
        except Exception as error:  # noqa: BLE001  whatever it is, it is this clip's own
            waves.append(_as_error(clip, error, stop=stop_at_error))
    good = [(clip, wave) for clip, wave in zip(clips, waves, strict=True) if not isinstance(wave, SpeechPromptError)]
    heard = iter(_units(good, tokenizer, f0, stop_at_error=stop_at_error))
    found: list[Spoken | SpeechPromptError] = []
    for clip, wave in zip(clips, waves, strict=True):
        if isinstance(wave, SpeechPromptError):
            found.append(wave)
        elif isinstance(units := next(heard), Units):
            found.append(Spoken(units, len(wave) / tokenizer.sample_rate, clip.policy, tokenizer.frame_seconds))
        else:
            found.append(units)
    return found


def _wave(clip: Clip, sample_rate: int) -> NDArray[np.float32]:
    data = clip.recording.read()
    return decode_fitted(data, name=clip.recording.name, sample_rate=sample_rate, policy=clip.policy).wave


def _units(
    clips: Sequence[tuple[Clip, NDArray[np.float32]]],
    tokenizer: Tokenizer,
    f0: F0Settings | None,
    *,
    stop_at_error: bool,
) -> list[Units | SpeechPromptError]:
    waves, seconds = [wave for _, wave in clips], [clip.policy.window_seconds for clip, _ in clips]
    found: list[Units | SpeechPromptError] = []
    try:
        found += encode_utterances(tokenizer, waves, f0, seconds)
    except (BackboneError, MissingExtra):
        raise
    except Exception as error:  # noqa: BLE001  it is told of the clip to blame
        # One of them is to blame, and the others have units.
        if len(clips) == 1:
            return [_as_error(clips[0][0], error, stop=stop_at_error)]
        return [unit for each in clips for unit in _units([each], tokenizer, f0, stop_at_error=stop_at_error)]
    for number, ((clip, _), units) in enumerate(zip(clips, found, strict=True)):
        if isinstance(units, Units) and not len(units):
            short = AudioError(
                f"{clip.recording.name}: shorter than one frame of the tokenizer; give a longer recording"
            )
            found[number] = _as_error(clip, short, stop=stop_at_error)
    return found


def _as_error(clip: Clip, error: Exception, *, stop: bool) -> SpeechPromptError:
    """The error as one of this product's; raised where the caller is to stop at it."""
    if isinstance(error, SpeechPromptError):
        if stop:
            raise error
        return error
    what = f"{type(error).__name__}: {error}".split("\n")[0].removesuffix(": ")
    own = AudioError(f"{clip.recording.name}: cannot be read ({what}); convert it to WAV or FLAC")
    own.__cause__ = error
    if stop:
        raise own from error
    return own
