from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from tests.fixtures.hubert import noise, toy_tokenizer
from workers.speech.hubert.encoder import HubertEncoder
from workers.speech.hubert.tokenizer import ROUNDING, batches_by_length, moved, near_tie, units_alone, units_of_batch


class _Shaky:
    """Takes a waveform's values, two by two, for features, and moves them a little in batches."""

    def __init__(self, move: float) -> None:
        self._move = move
        self.alone = 0

    def features(self, waves: Sequence[NDArray[np.float32]]) -> list[Tensor]:
        self.alone += len(waves) == 1
        clips = [torch.from_numpy(wave).view(-1, 2) for wave in waves]
        return clips if len(clips) == 1 else [clip * torch.tensor([1.0, 1 + self._move]) for clip in clips]


def _encoder(move: float) -> tuple[_Shaky, HubertEncoder]:
    shaky = _Shaky(move)
    return shaky, cast(HubertEncoder, shaky)


# Two centroids, and the line between them where the second feature is 1.
_CENTROIDS = torch.tensor([[0.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
_CLEAR = np.array([0.5, 0.2, 0.5, 1.7, 0.1, 0.1, 0.3, 1.9], np.float32)
_TIED = np.array([0.5, 0.2, 0.5, 0.999999, 0.5, 1.7, 0.1, 0.1, 0.0, 0.1], np.float32)


def test_a_frame_that_rounding_would_flip_is_decided_alone() -> None:
    shaky, encoder = _encoder(2e-6)
    waves = [_CLEAR, _TIED, _CLEAR[:4], _CLEAR[:6]]
    flipped = shaky.features(waves)[1].double()
    assert torch.cdist(flipped, _CENTROIDS).argmin(1).tolist() == [0, 1, 1, 0, 0]
    assert [units.tolist() for units in units_of_batch(encoder, _CENTROIDS, waves)] == [
        [0, 1, 0, 1],
        [0, 0, 1, 0, 0],
        [0, 1],
        [0, 1, 0],
    ]
    assert shaky.alone == 2  # The one in doubt, and the one with the most padding.


def test_all_are_encoded_alone_where_rounding_is_larger_than_assumed() -> None:
    shaky, encoder = _encoder(ROUNDING)
    waves = [_CLEAR, _CLEAR[:4], _CLEAR[:6]]
    units_of_batch(encoder, _CENTROIDS, waves)
    assert shaky.alone == 1 + len(waves)


def test_a_frame_is_near_a_tie_up_to_the_bound_and_not_beyond() -> None:
    # At distance e from the middle line the gap is 4 e, and the reach 4 ROUNDING |x|.
    at = torch.tensor([[0.0, 1 + 0.9 * ROUNDING], [0.0, 1 - 0.9 * ROUNDING], [0.0, 1 + 1.2 * ROUNDING]])
    assert near_tie(at, _CENTROIDS).tolist() == [True, True, False]
    assert not near_tie(at, _CENTROIDS[:1]).any()
    assert near_tie(at, _CENTROIDS[[0, 0]]).all()


@cache
def _parts() -> tuple[HubertEncoder, Tensor]:
    return toy_tokenizer()._encoder


def test_batches_round_far_less_than_is_assumed() -> None:
    encoder, _ = _parts()
    waves = [noise(samples, seed=samples) for samples in (400, 3000, 16_000, 40_000)]
    for batch, wave in zip(encoder.features(waves), waves, strict=True):
        assert moved(batch, encoder.features([wave])[0]) < ROUNDING / 8


@settings(max_examples=25)
@given(st.lists(st.integers(400, 8000), min_size=1, max_size=6), st.integers(0, 1000))
def test_units_of_a_batch_are_those_of_its_clips_alone(lengths: list[int], seed: int) -> None:
    encoder, centroids = _parts()
    waves = [noise(length, seed=seed + index) for index, length in enumerate(lengths)]
    for found, wave in zip(units_of_batch(encoder, centroids, waves), waves, strict=True):
        np.testing.assert_array_equal(found, units_alone(encoder, centroids, wave), strict=True)


def test_a_batch_is_decided_as_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, centroids = _parts()
    sizes = []
    features = encoder.features

    def spy(waves: Any) -> list[Tensor]:
        sizes.append(len(waves))
        return features(waves)

    monkeypatch.setattr(encoder, "features", spy)
    units_of_batch(encoder, centroids, [noise(length, seed=length) for length in range(3000, 5000, 200)])
    assert sizes[0] == 10
    assert 1 <= len(sizes) - 1 < 10 // 2


@given(st.lists(st.integers(1, 100), max_size=30))
def test_batches_hold_every_piece_once_and_keep_to_the_limit(lengths: list[int]) -> None:
    batches = batches_by_length(lengths, limit=100)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert max(lengths[index] for index in batch) * len(batch) <= 100
    ordered = [lengths[index] for batch in batches for index in batch]
    assert ordered == sorted(lengths, reverse=True)
