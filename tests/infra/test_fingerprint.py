from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infra.digest import canonical_json, fingerprint

CONFIG: dict[str, Any] = {"kind": "toy", "sizes": [1, 2], "rate": 0.5, "name": "où"}
TENSORS: dict[str, NDArray[Any]] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([1, -2], dtype=np.int64),
}


def test_is_known() -> None:
    """Published bundles name backbones by it, so it never changes."""
    assert fingerprint(CONFIG, TENSORS) == "a366490c5b51e7a1e63a12511152be015a163ada4eeb40d5f3a63d0c9cc9e3ef"


def test_depends_on_content_alone() -> None:
    known = fingerprint(CONFIG, TENSORS)
    assert fingerprint(dict(reversed(CONFIG.items())), dict(reversed(TENSORS.items()))) == known
    a = TENSORS["a"]
    strided = np.stack([a, a], axis=2)[:, :, 1]
    assert not strided.flags.c_contiguous
    for same in (strided, np.asfortranarray(a), a.astype(">f4")):
        assert fingerprint(CONFIG, TENSORS | {"a": same}) == known


def test_sees_every_change() -> None:
    a, b = TENSORS["a"], TENSORS["b"]
    flipped = a.copy()
    flipped.view(np.uint32)[0, 0] ^= 1
    variants = [
        (CONFIG | {"rate": 0.25}, TENSORS),
        (CONFIG | {"more": None}, TENSORS),
        (CONFIG, {"a": a}),
        (CONFIG, {"a": a, "c": b}),
        (CONFIG, {"a": b, "b": a}),
        (CONFIG, TENSORS | {"a": a.reshape(3, 2)}),
        (CONFIG, TENSORS | {"a": a.view(np.int32)}),
        (CONFIG, TENSORS | {"a": flipped}),
        (CONFIG, TENSORS | {"c": np.zeros(0, np.float32)}),
        (CONFIG, TENSORS | {"c": np.float32(1) * np.ones(())}),
        (CONFIG, TENSORS | {"c": np.ones(1)}),
    ]
    digests = {fingerprint(config, tensors) for config, tensors in [(CONFIG, TENSORS), *variants]}
    assert len(digests) == len(variants) + 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"rate": value})
