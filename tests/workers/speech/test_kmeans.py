from __future__ import annotations

import numpy as np
import pytest
import torch

from infra.errors import BackboneError
from workers.speech import kmeans


def test_separate_clouds_get_a_centroid_each() -> None:
    rng = np.random.default_rng(0)
    middles = 10 * rng.normal(size=(7, 3))
    points = (middles.repeat(200, axis=0) + 0.1 * rng.normal(size=(1400, 3))).astype(np.float32)
    centroids = kmeans.fit(points, clusters=7, seed=0)
    assert centroids.dtype == np.float32
    distances = np.linalg.norm(middles[:, None] - centroids[None], axis=2)
    assert sorted(distances.argmin(1)) == list(range(7))
    assert distances.min(1).max() < 0.05


def test_fitting_is_seeded() -> None:
    points = np.random.default_rng(1).normal(size=(3000, 5)).astype(np.float32)
    first, again, other = (kmeans.fit(points, clusters=20, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(BackboneError, match="give more audio"):
        kmeans.fit(np.zeros((5, 2), np.float32), clusters=6, seed=0)


def test_assignment_is_the_nearest_centroid_by_its_definition() -> None:
    rng = np.random.default_rng(2)
    points, centroids = rng.normal(size=(500, 8)), rng.normal(size=(31, 8))
    expected = np.linalg.norm(points[:, None] - centroids[None], axis=2).argmin(1)
    found = kmeans.assign(torch.from_numpy(points), torch.from_numpy(centroids))
    assert found.dtype == torch.int64
    np.testing.assert_array_equal(found.numpy(), expected)
    assert kmeans.assign(torch.empty(0, 8), torch.zeros(3, 8)).shape == (0,)
