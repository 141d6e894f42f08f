"""What holds for every kind of tokenizer that is registered."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from infra.errors import BackboneError
from tests.fixtures import hubert
from tests.fixtures.mfcc import fit_mfcc_tokenizer
from tests.fixtures.tones import babble
from workers.speech.external import ExternalConfig, ExternalTokenizer
from workers.speech.tokenizer import (
    TOKENIZERS,
    OffersFeatures,
    Tokenizer,
    build_tokenizer,
    tokenizer_of,
    tokenizer_shapes,
)

MADE: dict[str, Callable[[], Tokenizer]] = {
    "external": lambda: ExternalTokenizer(ExternalConfig(name="any", units=20)),
    "hubert": hubert.toy_tokenizer,
    "mfcc": lambda: fit_mfcc_tokenizer([babble(0, 2)], units=20, seed=0),
}


@pytest.fixture(params=MADE)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return MADE[request.param]()


def test_the_matrix_has_every_registered_kind() -> None:
    assert MADE.keys() == TOKENIZERS.keys()


def test_settings_and_tensors_make_the_same_tokenizer(tokenizer: Tokenizer) -> None:
    config, tensors = json.loads(json.dumps(tokenizer.config())), tokenizer.tensors()
    assert config["kind"] == tokenizer.kind
    shapes = tokenizer_shapes(config)
    assert {name: tensor.shape for name, tensor in tensors.items()} == shapes
    assert all(tensor.dtype == np.float32 for tensor in tensors.values())
    again = build_tokenizer(config, tensors)
    assert again.config() == tokenizer.config()
    assert (again.units, again.sample_rate, again.frame_seconds) == (
        tokenizer.units, tokenizer.sample_rate, tokenizer.frame_seconds,
    )  # fmt: skip


def test_a_clip_is_encoded_as_it_is_alone(tokenizer: Tokenizer) -> None:
    if isinstance(tokenizer, ExternalTokenizer):
        pytest.skip("encodes nothing")
    waves = [babble(1, 1.3), babble(2, 0.4), np.zeros(3, dtype=np.float32)]
    together = tokenizer.to("cpu").encode(waves)
    assert together[0].dtype == np.int64
    assert len(together[2]) == 0
    assert len(together[0]) == pytest.approx(1.3 / tokenizer.frame_seconds, abs=2)
    for wave, found in zip(waves, together, strict=True):
        assert ((found >= 0) & (found < tokenizer.units)).all()
        np.testing.assert_array_equal(tokenizer.encode([wave])[0], found)


def test_mean_features_of_a_clip_are_those_it_has_alone(tokenizer: Tokenizer) -> None:
    if not isinstance(tokenizer, OffersFeatures):
        assert tokenizer.kind == "external"
        return
    waves = [babble(1, 1.3), babble(2, 0.4)]
    together = tokenizer.mean_features(waves)
    assert all(found.dtype == np.float32 and found.ndim == 2 and np.isfinite(found).all() for found in together)
    assert together[0].shape == together[1].shape
    for wave, found in zip(waves, together, strict=True):
        np.testing.assert_allclose(tokenizer.mean_features([wave])[0], found, rtol=1e-4, atol=1e-5)
    assert tokenizer.mean_features([]) == []


def test_settings_that_are_not_its_own_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(BackboneError):
        build_tokenizer({**tokenizer.config(), "no_such_setting": 1}, tokenizer.tensors())


def test_settings_alone_make_an_external_one_and_no_other() -> None:
    settings = ExternalConfig(name="any", units=7)
    assert tokenizer_of(settings).config() == settings.model_dump()
