from __future__ import annotations

import numpy as np

from orchestrator.recordings.examples import noted
from orchestrator.recordings.tokenizing import ClipRequest, TokenizingReport
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from workers.speech.units import Units


def test_what_is_noted_of_clips_is_said_once_with_their_number() -> None:
    notes = {"a.wav": None, "b.wav": "odd", "c.wav": "odd", "d.wav": "strange"}
    units = {
        ClipRequest(Clip(uri), AudioPolicy()): Units(np.ones(1, np.int16), np.ones(1, np.int32), note=note)
        for uri, note in notes.items()
    }
    assert noted(TokenizingReport(units)) == [
        "note about 2 clips, such as b.wav: odd",
        "note about 1 clips, such as d.wav: strange",
    ]
