"""Recordings in windows are sequences of their own to an LM that is pretrained on them."""

from __future__ import annotations

import numpy as np

from orchestrator.pretraining.units import _laid_out
from task_specs.example import Split
from workers.speech.prosody import Pitch, PitchStatistics
from workers.speech.unit_prosody import ProsodySettings
from workers.speech.units import Units


def _units(*numbers: int, hertz: float = 100.0) -> Units:
    pitch = Pitch(np.full(len(numbers), hertz, np.float32), PitchStatistics(1, float(np.log(hertz)), 1.0))
    return Units(np.array(numbers, np.int16), np.array(numbers, np.int32) + 1, pitch)


def test_windows_are_rows_with_their_own_prosody() -> None:
    cut = Units.joined([_units(1, 2, hertz=100), _units(2, 3, 4, hertz=200)])
    rows: dict[Split, list[tuple[Units, str | None]]] = {
        "train": [(cut, None), (_units(5), None)],
        "valid": [(_units(6), None)],
    }
    for prosody in (None, ProsodySettings(f0_mean="utterance")):
        found = _laid_out(rows, prosody)
        train = found["train"]
        assert [train[row].tolist() for row in range(len(train))] == [[1, 2], [2, 3, 4], [5]]
        assert len(found["valid"]) == 1
    heard = train.prosody_of(1)
    assert heard is not None
    assert heard.durations.tolist() == [3, 4, 5]
    # Relative to the mean of the whole recording.
    np.testing.assert_allclose(heard.f0, np.log(200) - (np.log(100) + np.log(200)) / 2, rtol=1e-5)
