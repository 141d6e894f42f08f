"""espeak-ng through ctypes."""

from __future__ import annotations

import sys
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest

from infra.errors import InputError, MissingExtra
from orchestrator.demo.speech import synthesize


def test_samples_are_mono_float32_in_range_and_audible() -> None:
    samples, sample_rate = synthesize("turn on the lights", language="en", variant="m3")

    assert sample_rate == 22050
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert 0.6 < len(samples) / sample_rate < 2
    assert 0.1 < np.abs(samples).max() <= 1


@pytest.mark.parametrize("variant", ["f2", "m1", "Annie"])
def test_a_clip_does_not_depend_on_the_clips_before_it(variant: str) -> None:
    first, _ = synthesize("kas vakarą", language="lt", variant=variant)
    synthesize("something else, said before", language="en", variant="grandma", rate=300, pitch=90, volume=20)
    again, _ = synthesize("kas vakarą", language="lt", variant=variant)

    np.testing.assert_array_equal(first, again)


def test_each_parameter_is_heard() -> None:
    def say(**changes: int) -> bytes:
        return synthesize("good morning", language="en", variant="m3", **changes)[0].tobytes()

    sounds = {say(), say(rate=250), say(pitch=80), say(pitch_range=99), say(volume=20)}

    assert len(sounds) == 5
    assert len(say(rate=250)) < len(say())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"language": "xx"}, "language 'xx'"),
        ({"variant": "nobody"}, "variant 'nobody'"),
        ({"rate": 10}, "rate is 10"),
        ({"pitch": 100}, "pitch is 100"),
    ],
)
def test_what_espeak_does_not_have_is_named(changes: dict[str, str | int], named: str) -> None:
    arguments: dict[str, str | int] = {"language": "en", "variant": "m1", **changes}

    with pytest.raises(InputError, match=named):
        synthesize("hello", **arguments)  # type: ignore[arg-type]


def test_without_the_wheel_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)

    with pytest.raises(MissingExtra, match=r"speechprompt\[demo\]"):
        synthesize("hello", language="en", variant="m1")


def test_an_installation_deep_in_the_file_system_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = synthesize("hello", language="en", variant="m1")
    deep = tmp_path / ("d" * 200)
    deep.symlink_to(espeakng_loader.get_data_path())
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(deep))

    samples, _ = synthesize("hello", language="en", variant="m1")

    np.testing.assert_array_equal(samples, expected)
