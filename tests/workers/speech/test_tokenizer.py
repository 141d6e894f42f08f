from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from infra.errors import BackboneError
from workers.speech.tokenizer import TOKENIZERS, build_tokenizer


def test_registry_is_keyed_by_kind() -> None:
    assert {kind: cls.kind for kind, cls in TOKENIZERS.items()} == {
        kind: kind for kind in ("external", "hubert", "mfcc")
    }


def test_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(BackboneError, match="external, hubert, mfcc"):
        build_tokenizer({"kind": "wavlm"}, {})


def test_external_tokenizer_is_only_a_name() -> None:
    config = {"kind": "external", "name": "hubert-l6-km100", "units": 100}
    tokenizer = build_tokenizer(config, {})
    assert tokenizer.config() == config | {"sample_rate": 16_000, "frame_seconds": 0.02}
    assert build_tokenizer(tokenizer.config(), tokenizer.tensors()).units == 100
    with pytest.raises(BackboneError, match=r"hubert-l6-km100.*give units"):
        tokenizer.encode([np.zeros(16_000, np.float32)])
    with pytest.raises(BackboneError, match="no tensors"):
        build_tokenizer(config, {"centroids": np.zeros(3)})
    with pytest.raises(BackboneError, match="units"):
        build_tokenizer({"kind": "external", "name": "x"}, {})


def test_inference_needs_nothing_of_the_train_extra() -> None:
    code = (
        "import sys, workers.speech.tokenizer, workers.speech.audio, workers.speech.units;"
        "bad = {'ray', 'mlflow', 'sklearn', 'pandas', 'pyarrow', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'imported: {bad}' if bad else 0)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
