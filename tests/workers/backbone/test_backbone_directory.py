from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from infra import object_storage as storage
from infra.digest import FileEntry
from infra.errors import BackboneError
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import read_backbone, read_description, write_backbone
from workers.speech.mfcc import MfccTokenizer

Tensors = dict[str, NDArray[Any]]


@pytest.fixture
def backbone_dir(tmp_path: Path) -> Path:
    """A valid backbone to tamper with."""
    write_backbone(tiny_backbone(), str(tmp_path / "backbone"))
    return tmp_path / "backbone"


def described_again(directory: Path, **changes: Any) -> None:
    """Make ``backbone.json`` vouch for the files as they are now, as one who forges them would."""
    file = directory / "backbone.json"
    described = json.loads(file.read_text())
    for name in described["files"]:
        described["files"][name] = FileEntry.of((directory / name).read_bytes()).model_dump()
    file.write_text(json.dumps(described | changes))


def test_round_trip(store_root: str) -> None:
    backbone = tiny_backbone()
    write_backbone(backbone, store_root)
    assert storage.list_files(store_root) == ["backbone.json", "lm.safetensors", "tokenizer.safetensors"]
    read = read_backbone(store_root)
    assert read.lm_tensors.keys() == backbone.lm_tensors.keys()
    for name, tensor in backbone.lm_tensors.items():
        np.testing.assert_array_equal(read.lm_tensors[name], tensor, strict=True)
    for name in ("name", "config", "unit_tokens", "licence", "lm_fingerprint", "tokenizer_fingerprint"):
        assert getattr(read, name) == getattr(backbone, name)
    assert isinstance(read.tokenizer, MfccTokenizer)
    assert read.tokenizer.config() == backbone.tokenizer.config()


def test_writing_it_again_changes_nothing_and_another_one_is_refused(backbone_dir: Path) -> None:
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in backbone_dir.iterdir()}
    write_backbone(tiny_backbone(), str(backbone_dir))
    with pytest.raises(BackboneError, match="another backbone"):
        write_backbone(tiny_backbone(seed=1), str(backbone_dir))
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in backbone_dir.iterdir()} == before


def test_a_directory_without_description_is_no_backbone(backbone_dir: Path) -> None:
    (backbone_dir / "backbone.json").unlink()
    with pytest.raises(BackboneError, match="there is no backbone"):
        read_backbone(str(backbone_dir))


@pytest.mark.parametrize("name", ["lm.safetensors", "tokenizer.safetensors"])
def test_missing_torn_and_foreign_files(backbone_dir: Path, name: str) -> None:
    file = backbone_dir / name
    content = file.read_bytes()
    for broken in (content[:-1], content[:20], b"", b"\x80\x04pickle"):
        file.write_bytes(broken)
        with pytest.raises(BackboneError, match=rf"{name}: not the file"):
            read_backbone(str(backbone_dir))
        described_again(backbone_dir)
        with pytest.raises(BackboneError, match=rf"{name}: not a safetensors file"):
            read_backbone(str(backbone_dir))
    file.unlink()
    with pytest.raises(BackboneError, match=rf"{name}: missing"):
        read_backbone(str(backbone_dir))


@pytest.mark.parametrize(("name", "part"), [("lm.safetensors", "unit_lm"), ("tokenizer.safetensors", "tokenizer")])
def test_one_flipped_bit_is_seen(backbone_dir: Path, name: str, part: str) -> None:
    content = bytearray((backbone_dir / name).read_bytes())
    content[-7] ^= 1
    (backbone_dir / name).write_bytes(content)
    with pytest.raises(BackboneError, match=f"{name}: not the file that backbone.json describes"):
        read_backbone(str(backbone_dir))
    described_again(backbone_dir)
    with pytest.raises(BackboneError, match=f"{part} has fingerprint"):
        read_backbone(str(backbone_dir))


def _rename(tensors: Tensors) -> None:
    tensors["norm.gain"] = tensors.pop("norm.weight")


def _reshape(tensors: Tensors) -> None:
    tensors["layers.1.fc1.weight"] = np.ascontiguousarray(tensors["layers.1.fc1.weight"].T)


def _halve(tensors: Tensors) -> None:
    tensors["embed.weight"] = tensors["embed.weight"].astype(np.float16)


def _spoil(tensors: Tensors) -> None:
    tensors["norm.bias"][0] = np.nan


def _drop_layer(tensors: Tensors) -> None:
    for name in [name for name in tensors if name.startswith("layers.1.")]:
        del tensors[name]


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda tensors: tensors.pop("norm.bias"), "norm.bias is missing"),
        (lambda tensors: tensors.update(extra=np.zeros(1, np.float32)), "extra is not part of this LM"),
        (_rename, "norm.weight is missing; norm.gain is not part of this LM"),
        (_reshape, r"layers.1.fc1.weight has shape \(16, 24\) instead of \(24, 16\)"),
        (_halve, "embed.weight is float16 instead of float32"),
        (_spoil, "norm.bias holds numbers that are not finite"),
        (_drop_layer, r"layers.1.attention_norm.bias is missing;.*\(and 11 more\)"),
    ],
)
def test_every_wrong_tensor_is_named(backbone_dir: Path, tamper: Callable[[Tensors], None], message: str) -> None:
    file = backbone_dir / "lm.safetensors"
    tensors = load_file(file)
    tamper(tensors)
    save_file(tensors, file)
    described_again(backbone_dir)
    with pytest.raises(BackboneError, match=message) as raised:
        read_backbone(str(backbone_dir))
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format_version", 1, "files: format_version 1 names none"),
        ("format_version", 3, "format_version 3 is newer than 2; update speechprompt"),
        ("format_version", "1", "format_version"),
        ("unit_lm.kind", "mslm", "unit_lm"),
        ("unit_lm.layers", 0, "unit_lm.layers"),
        ("unit_lm.layers", "2", "unit_lm.layers"),
        ("unit_lm.layers", 2.0, "unit_lm.layers"),
        ("unit_lm.layers", 3, "layers.2.*missing"),
        ("unit_lm.dim", 18, "dim 18 is not a multiple"),
        ("unit_lm.heads", 4, "unit_lm has fingerprint"),
        ("unit_lm.eos", 0, "unit_lm has fingerprint"),
        ("unit_lm.eos", 999, "a special token is outside the vocabulary"),
        ("unit_lm.dropout", 0.1, "unit_lm.dropout"),
        ("unit_tokens", list(range(20)), "unit_lm has fingerprint"),
        ("unit_tokens", [4, 5], "unit_tokens: 2 for a tokenizer of 20 units"),
        ("unit_tokens", [-1] * 20, "token -1 is outside the vocabulary"),
        ("unit_tokens", [], "unit_tokens"),
        ("tokenizer.kind", "external", "tokenizer has fingerprint"),
        ("tokenizer.kind", ["mfcc"], "tokenizer.kind is a list"),
        ("tokenizer.kind", "\x1b[2J", r"tokenizer.kind is '\\x1b"),
        ("unit_lm.kind", "\x1b[2J", "unit_lm"),
        ("files", {}, "format_version 2 names"),
        ("tokenizer.units", 10**30, "tokenizer: units"),
        ("tokenizer.note", "\ud800", "surrogates not allowed"),
        ("tokenizer.sample_rate", 8000, "tokenizer has fingerprint"),
        ("tokenizer.rate", float("nan"), "NaN is not a JSON number"),
        ("fingerprints.unit_lm", "0" * 64, "unit_lm has fingerprint"),
        ("fingerprints.tokenizer", "0" * 64, "tokenizer has fingerprint"),
        ("fingerprints.tokenizer", "short", "fingerprints.tokenizer"),
        ("name", None, "name"),
        ("comment", "hello", "comment"),
    ],
)
def test_every_wrong_field_is_named(backbone_dir: Path, path: str, value: Any, message: str) -> None:
    file = backbone_dir / "backbone.json"
    described = json.loads(file.read_text())
    section = described
    *parents, last = path.split(".")
    for parent in parents:
        section = section[parent]
    section[last] = value
    file.write_text(json.dumps(described))
    with pytest.raises(BackboneError, match=message) as raised:
        read_backbone(str(backbone_dir))
    assert str(backbone_dir) in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_description_that_is_no_json_object(backbone_dir: Path, text: str) -> None:
    (backbone_dir / "backbone.json").write_text(text)
    with pytest.raises(BackboneError, match=r"backbone\.json: file:"):
        read_description(str(backbone_dir))


def test_incomplete_weights_are_not_written(tmp_path: Path) -> None:
    backbone = tiny_backbone()
    tensors = {name: tensor for name, tensor in backbone.lm_tensors.items() if name != "norm.bias"}
    with pytest.raises(BackboneError, match=r"norm\.bias is missing"):
        write_backbone(replace(backbone, lm_tensors=tensors), str(tmp_path / "backbone"))
    assert not (tmp_path / "backbone").exists()
