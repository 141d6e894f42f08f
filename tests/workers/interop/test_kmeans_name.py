"""Layers and numbers of units in the names of k-means files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from infra.errors import BackboneError
from workers.interop.centroids import layer_of, read_centroids


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("hubert_base_ls960_L9_km500.bin", 9),
        ("mhubert_base_vp_en_es_fr_it3_L11_km1000.bin", 11),
        ("hubert_layer9.npy", 9),
        ("km_layer-12.bin", 12),
        ("hubert_l7_km100.bin", 7),
        ("kmeans.l3.bin", 3),
        ("HubertL10km.bin", None),
        ("HubertL10.bin", 10),
        ("9th_layer_km100.bin", 9),
        ("km.bin", None),
        ("hubert_base_ls960.bin", None),
        ("hubert_large_ll60k.bin", None),
        ("km100_l2_norm.bin", None),
        ("model2.bin", None),
    ],
)
def test_the_layer_in_a_name(name: str, layer: int | None) -> None:
    if layer is None:
        assert layer_of(f"/data/L4/{name}", None) == (
            6,
            f"/data/L4/{name}: taken for a k-means of layer 6, for its name says no layer; --layer says another",
        )
        assert layer_of(name, 3) == (3, "")
        return
    assert layer_of(name, layer) == (layer, "")
    for other in (None, layer + 1):
        with pytest.raises(
            BackboneError, match=rf"its name says layer {layer}, but --layer is .*give --layer {layer}, or"
        ):
            layer_of(f"s3://bucket/{name}", other)


def test_the_usual_layer_in_a_name_needs_no_option() -> None:
    assert layer_of("hubert_base_l6_km100_centroids.npy", None) == (6, "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("km500.npy", 500),
        ("hubert_base_ls960_L9_km50.npy", 50),
        ("kmeans_200.npy", 200),
        ("hubert_L6_k1000.npy", 1000),
        ("km-2000.npy", 2000),
        ("100clusters.npy", 100),
        ("km20.npy", None),
        ("km2.npy", None),
        ("km_2024-05-01.npy", None),
        ("centroids.npy", None),
        ("16k.npy", None),
    ],
)
def test_the_number_of_units_in_a_name(tmp_path: Path, name: str, said: int | None) -> None:
    np.save(tmp_path / name, np.ones((20, 3), np.float32))
    if said is None:
        assert read_centroids(str(tmp_path / name)).shape == (20, 3)
        return
    with pytest.raises(BackboneError, match=rf"{name}: its name says {said} units, but it has 20 centroids; fetch"):
        read_centroids(str(tmp_path / name))
