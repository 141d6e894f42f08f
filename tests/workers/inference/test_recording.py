"""What a classifier takes from Python, and what it says of all else."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from infra.errors import AudioError, BundleError, InputError, SpeechPromptError, StorageError
from tests.fixtures.random_classifier import backbone, bundle, classifier
from tests.fixtures.tones import audio_bytes, babble, tone, write_audio
from tests.fixtures.tuning import UNITS
from workers.inference import listening
from workers.inference.classifier import Answer, Classifier, Waveform
from workers.speech.audio import Heard, decode_fitted
from workers.speech.unit_prosody import UnitProsody
from workers.speech.utterance import encode_utterances

PCM = np.round(babble(1, 0.6) * 32767).astype(np.int16)
FLOATS = (PCM / 32768).astype(np.float32)


class TextLike(io.StringIO):
    name = "notes.txt"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with one good recording."""
    (tmp_path / "good.wav").write_bytes(audio_bytes(FLOATS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def expected(place: Path) -> list[Answer]:
    """What the file of the recording is."""
    [answers] = classifier().classify_audio([str(place / "good.wav")], ["toy-task"])
    return answers


def waveform(samples: Any, sample_rate: Any) -> Waveform:
    """A waveform of anything, as a caller without types may make it."""
    return Waveform(samples, sample_rate)


def alike(found: object, expected: list[Answer]) -> bool:
    """Whether these are the answers, but for how a batch of another size rounds."""
    assert isinstance(found, list)
    return all(
        one.labels == other.labels and one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        for one, other in zip(found, expected, strict=True)
    )


FORMS: dict[str, Callable[[Path], Any]] = {
    "relative path": lambda _: "good.wav",
    "path object": lambda place: place / "good.wav",
    "relative path object": lambda _: Path("good.wav"),
    "bytes": lambda place: (place / "good.wav").read_bytes(),
    "bytearray": lambda place: bytearray((place / "good.wav").read_bytes()),
    "memoryview": lambda place: memoryview((place / "good.wav").read_bytes()),
    "file in memory": lambda place: io.BytesIO((place / "good.wav").read_bytes()),
    "int16": lambda _: waveform(PCM, 16_000),
    "int32": lambda _: waveform(PCM.astype(np.int32) << 16, 16_000),
    "float32": lambda _: waveform(FLOATS, 16_000),
    "float64": lambda _: waveform(FLOATS.astype(np.float64), 16_000),
    "big-endian": lambda _: waveform(FLOATS.astype(">f4"), 16_000),
    "two channels": lambda _: waveform(np.stack([FLOATS, FLOATS], axis=1), 16_000),
    "not contiguous": lambda _: waveform(np.repeat(PCM, 2)[::2], 16_000),
    "rate of NumPy": lambda _: waveform(PCM, np.int64(16_000)),
    "tensor": lambda _: waveform(torch.from_numpy(FLOATS), 16_000),
    "tensor with a gradient": lambda _: waveform(torch.from_numpy(FLOATS).requires_grad_(), 16_000),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_recording_in_any_form_has_the_answers_of_its_file(
    form: Callable[[Path], Any], place: Path, expected: list[Answer]
) -> None:
    assert classifier().classify_audio([form(place)], ["toy-task"]) == [expected]


def test_an_open_file_is_read_once_for_all_tasks(place: Path, expected: list[Answer]) -> None:
    with (place / "good.wav").open("rb") as file:
        found = classifier().classify_audio([file, file], ["toy-task", "strict"])
    assert alike(found[0], expected)
    assert len(found) == 2


def test_an_array_at_another_rate_is_the_file_of_that_rate(tmp_path: Path) -> None:
    wave = np.round(tone(440, 0.7, sample_rate=8_000) * 32768).astype(np.int16)
    file = write_audio(tmp_path / "low.wav", (wave / 32768).astype(np.float32), sample_rate=8_000)
    task = ["toy-task"]
    assert classifier().classify_audio([Waveform(wave, 8_000)], task) == classifier().classify_audio([file], task)


NOTHING: dict[str, tuple[Callable[[Path], Any], str]] = {
    "number": (lambda _: 3, "recording 0 is of type int; give a path"),
    "none": (lambda _: None, "recording 0 is of type NoneType; give a path"),
    "list": (lambda _: ["good.wav"], "recording 0 is of type list; give a path"),
    "dict of another library": (
        lambda _: {"array": FLOATS, "sampling_rate": 16_000},
        r"recording 0 is of type dict; .*Waveform\(samples, sample_rate\)",
    ),
    "tuple": (lambda _: (FLOATS, 16_000), r"of type tuple; .*Waveform\(samples, sample_rate\)"),
    "array without a rate": (lambda _: FLOATS, r"array without a sample rate; give Waveform\(samples, sample_rate\)"),
    "tensor without a rate": (lambda _: torch.from_numpy(FLOATS), "array without a sample rate"),
    "path of bytes": (lambda _: _PathOfBytes(), "a path of bytes; name it by text"),
    "path of a URI": (lambda _: Path("s3://bucket/x.wav"), "a Path keeps one slash of s3://; give the URI as text"),
    "larger than any": (lambda place: _sparse(place), "has 5,368,709,120 bytes, more than 4,294,967,296; cut it"),
    "no such file": (lambda _: Path("absent.wav"), r"absent\.wav does not exist; check the path"),
    "directory": (lambda place: place, "is a directory; name the recordings in it"),
    "pipe": (lambda place: _pipe(place), "is a pipe or a device; save the recording as a file"),
    "device": (lambda _: "/dev/zero", "/dev/zero: is a pipe or a device"),
    "unknown scheme": (lambda _: "https://example.org/x.wav", "has an unknown scheme"),
    "NUL": (lambda _: "a\0b.wav", "is not a path"),
    "no name": (lambda _: "", "is not a path"),
    "name too long": (lambda _: "x" * 5000 + ".wav", "more than a file system allows"),
    "no bytes": (lambda _: b"", "recording 0: empty: "),
    "bytes of text": (lambda _: b"<!DOCTYPE html><html>", "recording 0: unreadable: "),
    "file open as text": (lambda _: TextLike("x"), r"notes\.txt: gives str, not bytes; open it with"),
    "file that is closed": (lambda _: _closed(), "I/O operation on closed file; open it with|cannot be read"),
    "samples of booleans": (lambda _: waveform(PCM > 0, 16_000), "samples are bool; give float32, int16 or int32"),
    "samples of int64": (lambda _: waveform(PCM.astype(np.int64), 16_000), "samples are int64; give float32"),
    "complex samples": (lambda _: waveform(FLOATS.astype(complex), 16_000), "samples are complex128; give"),
    "samples of text": (lambda _: waveform(np.array(["a"]), 16_000), "samples are <U1; give"),
    "ragged samples": (lambda _: waveform([[1], [1, 2]], 16_000), "samples are no array"),
    "samples that are None": (lambda _: waveform(None, 16_000), "samples are object; give"),
    "one sample": (lambda _: waveform(np.float32(1), 16_000), "have 0 dimensions"),
    "batch": (lambda _: waveform(FLOATS[None, None], 16_000), "have 3 dimensions"),
    "channels first": (lambda _: waveform(FLOATS[None], 16_000), r"has 9600 channels of 1 samples; give samples\.T"),
    "no samples": (lambda _: waveform(FLOATS[:0], 16_000), "holds no samples"),
    "no channels": (lambda _: waveform(np.zeros((5, 0), np.float32), 16_000), "holds no samples"),
    "NaN": (lambda _: waveform(FLOATS * np.float32("nan"), 16_000), "are not all finite numbers"),
    "infinity": (lambda _: waveform(np.full(9000, np.inf), 16_000), "are not all finite numbers"),
    "integers as floats": (lambda _: waveform(PCM.astype(np.float32), 16_000), r"reach \d+; bring them between"),
    "rate of zero": (lambda _: waveform(PCM, 0), "sample rate of '0'; give a whole number"),
    "negative rate": (lambda _: waveform(PCM, -16_000), "sample rate of '-16000'"),
    "rate in kilohertz": (lambda _: waveform(PCM, 16), "sample rate of '16'"),
    "rate as a fraction": (lambda _: waveform(PCM, 16_000.5), r"sample rate of '16000\.5'"),
    "rate as text": (lambda _: waveform(PCM, "16k"), "sample rate of '16k'"),
    "rate as a truth value": (lambda _: waveform(PCM, True), "sample rate of 'True'"),
    "huge rate": (lambda _: waveform(PCM, 10**30), "sample rate of '1000000"),
    "shorter than the policy": (lambda _: waveform(PCM[:160], 16_000), "recording 0: too short"),
}


class _PathOfBytes(os.PathLike[bytes]):
    def __fspath__(self) -> bytes:
        return b"good.wav"


def _pipe(place: Path) -> Path:
    os.mkfifo(place / "pipe.wav")
    return place / "pipe.wav"


def _sparse(place: Path) -> Path:
    with (place / "large.wav").open("wb") as file:
        file.truncate(5 << 30)
    return place / "large.wav"


def _closed() -> io.BytesIO:
    file = io.BytesIO(b"x")
    file.close()
    return file


@pytest.mark.parametrize(("form", "said"), NOTHING.values(), ids=NOTHING.keys())
def test_what_is_no_recording_is_refused_in_a_sentence(
    form: Callable[[Path], Any], said: str, place: Path, expected: list[Answer]
) -> None:
    given = form(place)
    with pytest.raises((AudioError, StorageError), match=said) as raised:
        classifier().classify_audio([given], ["toy-task"])
    assert "\n" not in str(raised.value)
    assert "; " in str(raised.value)
    # Beside good ones it is refused in its own place.
    recordings = ["good.wav", given, place / "good.wav"]
    before, wrong, after = classifier().classify_audio(recordings, ["toy-task"] * 3, on_error="return")
    assert alike(before, expected)
    assert alike(after, expected)
    assert isinstance(wrong, AudioError | StorageError)


def test_answers_and_errors_come_in_the_order_of_the_recordings(place: Path, expected: list[Answer]) -> None:
    (place / "empty.wav").touch()
    write_audio(place / "short.wav", tone(440, 0.3))
    recordings = ["empty.wav", "good.wav", "short.wav", "absent.wav", "short.wav", "good.wav", "empty.wav"]
    tasks = ["toy-task", "toy-task", "strict", "strict", "toy-task", "toy-task", "strict"]
    found = classifier().classify_audio(recordings, tasks, on_error="return")
    assert [isinstance(one, SpeechPromptError) for one in found] == [True, False, True, True, False, False, True]
    assert alike(found[1], expected)
    assert alike(found[5], expected)
    assert "audio.min_seconds is 0.5" in str(found[2])
    with pytest.raises(AudioError, match=r"empty\.wav"):
        classifier().classify_audio(recordings, tasks)


def test_nothing_but_errors(place: Path) -> None:  # noqa: ARG001
    found = classifier().classify_audio(["a.wav", "b.wav"], ["toy-task"] * 2, on_error="return")
    assert [str(one).partition("/")[2].rpartition("/")[2] for one in found] == [
        f"{name}.wav does not exist; check the path" for name in "ab"
    ]
    assert classifier().classify_audio([], on_error="return") == classifier().classify_audio([]) == []


@pytest.mark.parametrize("fault", [ZeroDivisionError("by zero"), MemoryError(), RuntimeError("a\nb"), OSError(5, "x")])
@pytest.mark.parametrize("step", ["decode", "encode"])
def test_whatever_one_recording_raises_is_its_own(
    step: str, fault: Exception, place: Path, expected: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_audio(place / "odd.wav", wave := babble(2, 0.9))

    def decoded(data: bytes, *, name: str, **rest: Any) -> Heard:
        if name == "odd.wav":
            raise fault
        return decode_fitted(data, name=name, **rest)

    def encoded(tokenizer: Any, waves: Any, *rest: Any) -> Any:
        if any(len(one) == len(wave) for one in waves):
            raise fault
        return encode_utterances(tokenizer, waves, *rest)

    steps = {"decode": ("decode_fitted", decoded), "encode": ("encode_utterances", encoded)}
    monkeypatch.setattr(listening, *steps[step])
    recordings, tasks = ["good.wav", "odd.wav", "good.wav"], ["toy-task"] * 3
    first, wrong, last = classifier().classify_audio(recordings, tasks, on_error="return")
    assert alike(first, expected)
    assert alike(last, expected)
    assert isinstance(wrong, AudioError)
    assert re.fullmatch(
        rf"odd\.wav: cannot be read \({type(fault).__name__}.*\); convert it to WAV or FLAC", str(wrong)
    )
    with pytest.raises(AudioError, match=r"odd\.wav"):
        classifier().classify_audio(recordings, tasks)


UNIT_ROWS = [[3, 1, 4], [1, 5, 9, 2]]


@pytest.mark.parametrize(
    "units",
    [
        [np.array(row, np.int16) for row in UNIT_ROWS],
        [np.array(row, np.uint8) for row in UNIT_ROWS],
        [np.array(row) for row in UNIT_ROWS],
        [[np.int64(unit) for unit in row] for row in UNIT_ROWS],
        [torch.tensor(row) for row in UNIT_ROWS],
        [tuple(row) for row in UNIT_ROWS],
        [iter(row) for row in UNIT_ROWS],
        (row for row in UNIT_ROWS),
        tuple(UNIT_ROWS),
        np.array([[3, 1, 4, 1], [1, 5, 9, 2]])[:, :4],
    ],
    ids=lambda units: type(units).__name__,
)
def test_units_in_any_form_are_those_numbers(units: Any) -> None:
    found = Classifier([bundle()], backbone()).classify_units(units)
    rows = UNIT_ROWS if not isinstance(units, np.ndarray) else [[3, 1, 4, 1], [1, 5, 9, 2]]
    assert found == Classifier([bundle()], backbone()).classify_units(rows)


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ("1 2 3", "units must be a list, not one str"),
        (7, "units must be a list, not one int"),
        (None, "units must be a list, not one NoneType"),
        ([1, 2, 3], r"utterance 0 is of type int, .*such as \[\[3, 1, 4\]"),
        (["1 2 3"], "utterance 0 is of type str, not a list of units"),
        ([b"\1\2"], "utterance 0 is of type bytes"),
        ([None], "utterance 0 is of type NoneType"),
        ([[1, 2], []], "utterance 1 has no units"),
        ([[1.0, 2.0]], r"utterance 0 holds float64 \[2\], not whole numbers"),
        ([torch.tensor([1.5])], "utterance 0 holds float32"),
        ([torch.tensor([1.0]).bfloat16()], "utterance 0 is not a list of units"),
        ([[True, False]], "utterance 0 holds truth values"),
        ([[True, 2]], "utterance 0 holds truth values"),
        ([np.array([True])], "utterance 0 holds bool"),
        ([["1", "2"]], "utterance 0 holds <U1"),
        ([[[1, 2], [3, 4]]], r"utterance 0 holds int64 \[2, 2\]"),
        ([[[1], [2, 3]]], "utterance 0 is not a list of units"),
        ([[1, None]], "utterance 0 holds object"),
        ([[1, -1]], f"utterance 0 holds -1, but units of the backbone are 0 to {UNITS - 1}"),
        ([[UNITS]], f"utterance 0 holds {UNITS}, but"),
        ([[2**16 + 1]], f"utterance 0 holds {2**16 + 1}, but"),
        ([[10**30]], "utterance 0 holds object"),
        ({"a": [1]}, "units must be a list, not a dict; answers come in the order of a list"),
        ({(1, 2)}, "units must be a list, not a set"),
    ],
)
def test_what_are_no_units_is_refused_in_a_sentence(units: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        Classifier([bundle()], backbone()).classify_units(units)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda made: made.classify_audio("good.wav"), "recordings must be a list, not one str; put it in brackets"),
        (lambda made: made.classify_audio(Path("good.wav")), "recordings must be a list, not one PosixPath"),
        (lambda made: made.classify_audio(b"RIFF"), "recordings must be a list, not one bytes"),
        (lambda made: made.classify_audio(io.BytesIO(b"RIFF")), "recordings must be a list, not one BytesIO"),
        (lambda made: made.classify_audio(Waveform(PCM, 16_000)), "recordings must be a list, not one Waveform"),
        (lambda made: made.classify_audio({"good.wav"}), "recordings must be a list, not a set"),
        (lambda made: made.classify_audio(3), "recordings must be a list, not one int"),
        (lambda made: made.classify_audio(["a", "b"], ["strict"]), "there are 2 recordings, but 1 tasks; give one for"),
        (lambda made: made.classify_audio(["a"], ["strict"] * 2), "there are 1 recordings, but 2 tasks"),
        (lambda made: made.classify_audio(["a"], []), "there are 1 recordings, but 0 tasks"),
        (lambda made: made.classify_audio(["a"], "strict"), "tasks must be a list, not one str"),
        (lambda made: made.classify_audio(["a"], [["strict"]]), "tasks holds a list; give text, or None"),
        (lambda made: made.classify_audio(["a"], [3]), "tasks holds a int; give text, or None"),
        (lambda made: made.classify_audio(["a"], ["strict"], speakers=[]), "there are 1 recordings, but 0 speakers"),
        (lambda made: made.classify_audio(["a"], ["strict"], speakers="me"), "speakers must be a list, not one str"),
        (lambda made: made.classify_audio(["a"], ["strict"], speakers=[{}]), "speakers holds a dict"),
        (
            lambda made: made.classify_audio(["a"], ["strict"], on_error="skip"),
            "there is no on_error 'skip'; use raise",
        ),
        (lambda made: made.classify_audio(["a"]), "several tasks are loaded"),
        (lambda made: made.classify_units([[1]], ["strict", "strict"]), "there are 1 utterances, but 2 tasks"),
        (lambda made: made.classify_units([[1]], ["strict"], [1]), "prosody of utterance 0 is a int; give UnitProsody"),
        (lambda made: made.classify_units([[1]], ["strict"], []), "there are 1 utterances, but prosody of 0"),
        (lambda made: made.classify_units([[1, 2]], ["strict"], [UnitProsody.unknown(3)]), "is not of its 2 units"),
    ],
)
def test_a_call_that_is_none_is_refused_in_a_sentence(call: Callable[[Any], Any], said: str) -> None:
    with pytest.raises((InputError, BundleError), match=said) as raised:
        call(classifier())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda made: made([], backbone()), "no bundle is given; name one or more"),
        (lambda made: made(["bundles/x"], backbone()), "a str is no bundle that was read; use Classifier.from_uris"),
        (lambda made: made(bundle(), backbone()), "bundles must be a list, not one Bundle"),
        (lambda made: made([bundle()], backbone(), device="gpu"), "device 'gpu' cannot be used"),
        (lambda made: made([bundle()], backbone(), device="cuda:99"), "device 'cuda:99' cannot be used"),
        (
            lambda made: made([bundle()], backbone(), device="meta"),
            r"device 'meta' cannot be used \(it computes nothing\)",
        ),
        (lambda made: made([bundle()], backbone(), device=3.5), "device 3.5 cannot be used"),
        (lambda made: made([bundle()], backbone(), precision="fp16"), "there is no precision 'fp16'; use one of auto"),
        (lambda made: made([bundle()], backbone(), abstain_below=float("nan")), "must be a probability, not nan"),
        (lambda made: made([bundle()], backbone(), abstain_below="0.5"), "must be a probability, not '0.5'"),
        (lambda made: made.from_uris([]), "no bundle is given"),
        (lambda made: made.from_uris("bundles/x"), "bundles must be a list, not one str"),
        (lambda made: made.from_uris(Path("bundles/x")), "bundles must be a list, not one PosixPath"),
        (lambda made: made.from_uris([Path("s3://prompts/x")]), "a Path keeps one slash of s3://"),
        (lambda made: made.from_uris([3]), "a bundle is named by a path or URI, not by a int"),
        (lambda made: made.from_uris([None]), "a bundle is named by a path or URI, not by a NoneType"),
        (lambda made: made.from_uris(["x"], 3), "a backbone is named by a path or URI"),
        (lambda made: made.from_uris(["x"], trusted_keys="team.pub"), "trusted_keys must be a list, not one str"),
    ],
)
def test_a_classifier_that_cannot_be_made_is_refused_in_a_sentence(make: Callable[[Any], Any], said: str) -> None:
    with pytest.raises((InputError, StorageError), match=said) as raised:
        make(Classifier)
    assert "\n" not in str(raised.value)
