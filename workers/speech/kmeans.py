"""K-means over speech features: fitting on the driver, nearest centroid anywhere."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from infra.errors import BackboneError, MissingExtra


def fit(features: NDArray[np.float32], *, clusters: int, seed: int) -> NDArray[np.float32]:
    """Fits centroids by mini-batch k-means, with the settings of HuBERT's own clustering.

    https://github.com/facebookresearch/fairseq/blob/main/examples/hubert/simple_kmeans/learn_kmeans.py

    Args:
        features: float32 [frames, dim].
        clusters: how many centroids.
        seed: of the random choices; the same features and seed give the same bits on one machine.

    Returns:
        Centroids, float32 [clusters, dim].

    Raises:
        BackboneError: there are fewer frames than clusters.
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import MiniBatchKMeans
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise MissingExtra("scikit-learn", "train") from error
    if len(features) < clusters:
        raise BackboneError(
            f"{len(features)} frames of speech cannot be clustered into {clusters} units; "
            "give more audio or lower tokenizer.units"
        )
    model = MiniBatchKMeans(
        n_clusters=clusters,
        init="k-means++",
        n_init=5,
        batch_size=10_000,
        max_iter=100,
        max_no_improvement=100,
        tol=0.0,
        reassignment_ratio=0.0,
        random_state=seed,
    )
    # With several threads, partial sums are added in the order in which the threads finish.
    with threadpool_limits(limits=1):
        model.fit(features)
    return np.ascontiguousarray(model.cluster_centers_, dtype=np.float32)


def assign(features: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Nearest centroid of each frame, by one matrix product.

    |x - c|^2 = |x|^2 + |c|^2 - 2 x.c, and |x|^2 is the same for every c.

    Args:
        features: [frames, dim].
        centroids: [clusters, dim], same dtype and device.

    Returns:
        Indices, int64 [frames]; the lower one where two centroids are equally near.
    """
    return torch.addmm((centroids * centroids).sum(1), features, centroids.T, alpha=-2.0).argmin(1)
