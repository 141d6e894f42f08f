from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from workers.speech.prosody import Pitch, PitchStatistics
from workers.speech.unit_prosody import ProsodySettings, UnitProsody, unit_prosody
from workers.speech.units import Units


def _utterance(*hertz: float) -> Units:
    """Units of two frames each, with this F0."""
    f0 = np.array(hertz, np.float32)
    units = np.arange(len(f0), dtype=np.int16)
    return Units(units, np.full(len(f0), 2, np.int32), Pitch(f0, PitchStatistics.of(f0)))


def _logs(*hertz: float) -> NDArray[np.float64]:
    return np.log(np.array(hertz, np.float64))


def test_utterances_of_a_speaker_share_a_mean() -> None:
    utterances = [_utterance(100, 200), _utterance(400), _utterance(300)]
    low, high, other = unit_prosody(utterances, ["a", "a", "b"], ProsodySettings())
    mean = np.mean(_logs(100, 200, 400))
    assert low.f0.tolist() == pytest.approx((_logs(100, 200) - mean).tolist(), abs=1e-6)
    assert high.f0.tolist() == pytest.approx((_logs(400) - mean).tolist(), abs=1e-6)
    assert other.f0.tolist() == pytest.approx([0.0], abs=1e-6)
    assert low.durations.tolist() == [2, 2]


def test_without_a_speaker_an_utterance_has_its_own_mean() -> None:
    together = unit_prosody([_utterance(100, 200), _utterance(400, 800)], [None, None], ProsodySettings())
    by_choice = unit_prosody(
        [_utterance(100, 200), _utterance(400, 800)], ["a", "a"], ProsodySettings(f0_mean="utterance")
    )
    for found in (together, by_choice):
        assert found[0].f0.tolist() == pytest.approx(found[1].f0.tolist(), abs=1e-6)
        assert found[0].f0.sum() == pytest.approx(0, abs=1e-6)


def test_the_height_of_a_voice_can_be_kept() -> None:
    [low, high] = unit_prosody([_utterance(100), _utterance(200)], ["a", "b"], ProsodySettings(f0_mean="none"))
    assert [*low.f0, *high.f0] == pytest.approx(_logs(100, 200).tolist(), abs=1e-6)


def test_the_deviation_is_divided_by_on_request() -> None:
    [found] = unit_prosody([_utterance(100, 200, 400)], ["a"], ProsodySettings(f0_std=True))
    assert np.std(found.f0) == pytest.approx(1, abs=1e-5)


def test_unvoiced_units_lie_on_the_line_or_at_zero() -> None:
    [line] = unit_prosody([_utterance(0, 100, 0, 300, 0)], [None], ProsodySettings(f0_mean="none"))
    assert line.f0.tolist() == pytest.approx([0, *_logs(100, 200, 300), 0], abs=1e-6)
    settings = ProsodySettings(f0_mean="none", interpolate=False)
    [gaps] = unit_prosody([_utterance(0, 100, 0, 300, 0)], [None], settings)
    assert gaps.f0.tolist() == pytest.approx([0, *_logs(100), 0, *_logs(300), 0], abs=1e-6)


def test_units_without_pitch_count_as_unvoiced() -> None:
    units = Units(np.array([3, 4], np.int16), np.array([5, 6], np.int32))
    [found] = unit_prosody([units], ["a"], ProsodySettings())
    assert found.f0.tolist() == [0, 0]
    assert found.durations.tolist() == [5, 6]


def test_parts_are_those_that_were_put_together() -> None:
    parts = [UnitProsody.unknown(2), UnitProsody(np.array([4], np.int32), np.array([0.5], np.float32))]
    joined = UnitProsody.concatenate(parts)
    assert joined.durations.tolist() == [1, 1, 4]
    assert joined.part(2, 3).f0.tolist() == [0.5]
    assert len(UnitProsody.concatenate([]).f0) == 0
