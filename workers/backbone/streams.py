"""The duration and F0 streams of an utterance as a multi-stream LM lays them beside its units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.backbone.multistream_config import MultistreamConfig
from workers.backbone.multistream_lm import DURATION_PAD
from workers.speech.prosody import capped_durations, quantised_f0
from workers.speech.unit_prosody import UnitProsody

Stream = NDArray[np.int64] | NDArray[np.float32]
"""Ids of a discrete stream, or values of a continuous one."""


def shifted_streams(config: MultistreamConfig, prosody: UnitProsody) -> tuple[Stream, Stream]:
    """Durations and F0 of T units, each with the gap of its shift, its begin, T values and its end: [T + 3].

    Beside ``<s> u1 .. uT </s>`` all but the last are inputs, all but the first are targets: where u_t goes in, so do
    the duration and the F0 of the unit before it, and those of u_t are to be predicted. The end counts as a unit of
    no duration and no voice.
    """
    durations, f0 = np.append(prosody.durations, 0), np.append(prosody.f0, np.float32(0))
    if not config.discrete:
        return (
            np.concatenate([[DURATION_PAD, 0], durations]).astype(np.float32),
            np.concatenate([[config.f0_pad, config.f0_begin], f0]).astype(np.float32),
        )
    bins = quantised_f0(f0, np.array(config.f0_edges, dtype=np.float64))
    return (
        np.concatenate([[DURATION_PAD, 0], capped_durations(durations, cap=config.duration_cap)]).astype(np.int64),
        np.concatenate([[config.f0_pad, config.f0_begin], bins]).astype(np.int64),
    )
