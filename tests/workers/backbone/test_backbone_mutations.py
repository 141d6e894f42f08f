"""Backbones of one who means harm, digests recomputed where that helps: a backbone, or a named error."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from infra import object_storage
from infra.digest import FileEntry
from infra.errors import BackboneError
from tests.fixtures.mutations import one_thing_wrong
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.description import BACKBONE_FILE, LM_FILE, TOKENIZER_FILE, parse_description
from workers.backbone.directory import read_backbone, write_backbone
from workers.speech.tokenizer import tokenizer_shapes
from workers.untrusted import tensor_file


@pytest.fixture
def backbone_dir(tmp_path: Path) -> Path:
    """A valid backbone to tamper with."""
    write_backbone(tiny_backbone(), str(tmp_path / "backbone"))
    return tmp_path / "backbone"


def test_one_thing_wrong_in_a_description(backbone_dir: Path) -> None:
    document = json.loads((backbone_dir / BACKBONE_FILE).read_bytes())
    accepted = []
    for steps, changed in one_thing_wrong(document):
        try:
            described = parse_description(json.dumps(changed).encode(), file="backbone.json")
            tokenizer_shapes(described.tokenizer)
        except BackboneError as error:
            assert str(error).isprintable(), steps  # noqa: PT017  what passes is looked at as well
            assert len(str(error)) < 600, steps  # noqa: PT017
        else:
            accepted.append(changed)
    # What reads as a description is refused by its digests, unless its tensors are the same.
    assert 20 < len(accepted) < 400
    for changed in accepted[::7]:
        (backbone_dir / BACKBONE_FILE).write_text(json.dumps(changed))
        try:
            read = read_backbone(str(backbone_dir))
        except BackboneError:
            continue
        assert read.lm_fingerprint == document["fingerprints"]["unit_lm"]
        assert read.tokenizer_fingerprint == document["fingerprints"]["tokenizer"]


@pytest.mark.parametrize("name", [LM_FILE, TOKENIZER_FILE])
def test_every_altered_byte_of_a_file_is_noticed(backbone_dir: Path, name: str) -> None:
    data = (backbone_dir / name).read_bytes()
    described = parse_description((backbone_dir / BACKBONE_FILE).read_bytes(), file="backbone.json")
    entry = FileEntry.of(data)
    assert entry in described.files.values()
    for position in range(0, len(data), 1 + len(data) // 2000):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        assert not entry.describes(bytes(changed))
    (backbone_dir / name).write_bytes(changed)
    with pytest.raises(BackboneError, match=f"{name}: not the file that"):
        read_backbone(str(backbone_dir))


def test_altered_headers_that_the_digests_vouch_for() -> None:
    data = save({"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.int16)})
    for position in range(len(data)):
        for mask in (0x01, 0x20, 0xFF):
            changed = bytearray(data)
            changed[position] ^= mask
            try:
                tensors = tensor_file.parse_tensors(bytes(changed))
            except ValueError:
                continue
            assert sum(array.nbytes for array in tensors.values()) <= len(data)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2", "C64"])
def test_numbers_that_numpy_does_not_have(dtype: str) -> None:
    header = json.dumps({"a": {"dtype": dtype, "shape": [8], "data_offsets": [0, 8 if "8" in dtype else 16]}}).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(8 if "8" in dtype else 16)
    with pytest.raises(ValueError, match=r"no kind of number|not a safetensors file"):
        tensor_file.parse_tensors(data)


def test_no_more_is_read_than_the_sizes_ask_for(backbone_dir: Path) -> None:
    for name in (LM_FILE, TOKENIZER_FILE):
        file = backbone_dir / name
        whole = file.read_bytes()
        with file.open("r+b") as opened:
            opened.truncate(2**40)
        with pytest.raises(Exception, match=r"larger than the \d+ bytes allowed"):
            read_backbone(str(backbone_dir))
        document = json.loads((backbone_dir / BACKBONE_FILE).read_bytes())
        claimed = document | {"files": document["files"] | {name: {"sha256": "0" * 64, "size": 2**40}}}
        (backbone_dir / BACKBONE_FILE).write_text(json.dumps(claimed))
        with pytest.raises(BackboneError, match=rf"{name}: is said to have {2**40} bytes"):
            read_backbone(str(backbone_dir))
        (backbone_dir / BACKBONE_FILE).write_text(json.dumps(document))
        file.write_bytes(whole)


@pytest.mark.parametrize("format_version", [1, 2])
@pytest.mark.parametrize("there", [True, False])
def test_terabytes_that_are_announced_are_not_made_room_for(
    backbone_dir: Path, format_version: int, there: bool
) -> None:
    document = json.loads((backbone_dir / BACKBONE_FILE).read_bytes())
    document["unit_lm"] |= {"dim": 65_536, "ffn_dim": 262_144, "layers": 30}
    document |= {"format_version": format_version}
    if format_version == 1:
        del document["files"]
    else:
        document["files"][LM_FILE]["size"] = 5 << 40
    (backbone_dir / BACKBONE_FILE).write_text(json.dumps(document))
    if there:
        os.truncate(backbone_dir / LM_FILE, 5 << 40)
    with pytest.raises(BackboneError, match=r"have 5,760 GiB by backbone\.json, and this machine has|is said"):
        read_backbone(str(backbone_dir))


def test_a_limit_far_above_the_size_makes_no_room_for_as_much(backbone_dir: Path) -> None:
    data = (backbone_dir / LM_FILE).read_bytes()
    assert object_storage.read_bytes(str(backbone_dir / LM_FILE), limit=1 << 60) == data
    assert object_storage.read_bytes(str(backbone_dir / LM_FILE), limit=len(data)) == data


@pytest.mark.parametrize("depth", [65, 900, 100_000])
def test_deep_settings(backbone_dir: Path, depth: int) -> None:
    text = (backbone_dir / BACKBONE_FILE).read_text()
    deep = text.replace('"tokenizer": {', '"tokenizer": {"deep": ' + "[" * depth + "]" * depth + ",", 1)
    assert deep != text
    with pytest.raises(BackboneError, match="nested too deeply"):
        parse_description(deep.encode(), file="backbone.json")
