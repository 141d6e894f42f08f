"""Files of torch.save by unknown hands: read where they hold tensors and settings, and otherwise refused by name."""

from __future__ import annotations

import argparse
import io
import struct
import tempfile
import zipfile
from collections import Counter, OrderedDict, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from infra import object_storage
from infra.errors import BackboneError
from tests.fixtures.hostile_files import PAYLOADS, payload
from tests.fixtures.shared_data import shared_folder
from workers.fairseq.checkpoint import entries, read_checkpoint
from workers.untrusted.pickled_arrays import PickledArray
from workers.untrusted.pickles import Inert
from workers.untrusted.torch_file import read_torch_file

LAYOUTS: dict[str, dict[str, Any]] = {
    "zip": {},
    "legacy": {"_use_new_zipfile_serialization": False},
    "protocol 4": {"pickle_protocol": 4},
}


def _saved(path: Path, content: Any, **options: Any) -> str:
    torch.save(content, path, **options)
    return str(path)


def _bytes(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


SMALL = {
    layout: _bytes({"args": None, "model": {"w": torch.arange(6.0)}}, **options)
    for layout, options in LAYOUTS.items()
    if layout != "protocol 4"
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", PAYLOADS)
def test_a_call_is_refused_by_name(tmp_path: Path, name: str, layout: str) -> None:
    mark = tmp_path / "mark"
    tensors = OrderedDict(weight=torch.zeros(2))
    file = _saved(tmp_path / "evil.pt", {"model": tensors, "cfg": {"deep": [payload(name, mark)]}}, **LAYOUTS[layout])
    with pytest.raises(BackboneError, match=rf"evil\.pt: refused, for reading it would call {name}, which"):
        read_torch_file(file)
    assert not mark.exists()


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_a_call_inside_a_tensor_is_refused_by_name(tmp_path: Path, layout: str) -> None:
    mark = tmp_path / "mark"
    tensor = torch.zeros(2)
    tensor.note = payload("os.system", mark)  # type: ignore[attr-defined]
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.__dict__["note"] = payload("builtins.exec", mark)
    metadata = OrderedDict(w=torch.zeros(2))
    metadata._metadata = payload("builtins.eval", mark)  # type: ignore[attr-defined]
    for content, name in ((tensor, "os.system"), (parameter, "builtins.exec"), (metadata, "builtins.eval")):
        file = _saved(tmp_path / "evil.pt", {"model": {"w": content}}, **LAYOUTS[layout])
        with pytest.raises(BackboneError, match=rf"would call .*{name}"):
            read_torch_file(file)
    assert not mark.exists()


@pytest.mark.parametrize("protocol", range(1, 6))
@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_every_protocol_is_read(tmp_path: Path, layout: str, protocol: int) -> None:
    state = OrderedDict(w=torch.arange(6.0).view(2, 3), h=torch.ones(2).half(), p=torch.nn.Parameter(torch.zeros(2)))
    state["b"] = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    state["noted"] = torch.ones(3)
    state["noted"].param_group = "decoder"  # type: ignore[attr-defined]
    content = {
        "args": argparse.Namespace(arch="transformer_lm_big", ratio=0.5, save=Path("x"), seen={1, 2}, none=None),
        "model": state,
        "extra_state": {
            "edges": np.arange(3),
            "best": np.float32(1.5),
            "counts": Counter("aab"),
            "by": defaultdict(list),
        },
    }
    found = read_checkpoint(_saved(tmp_path / "lm.pt", content, **LAYOUTS[layout], pickle_protocol=protocol))
    assert found.model["_name"] == "transformer_lm_big"
    assert found.model["ratio"] == 0.5
    assert list(found.tensors) == list(state)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in state.items())


def test_the_protocol_without_room_for_tensors_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"lm\.pt: .*pickle protocol 0, .*save it again with protocol 2"):
        read_checkpoint(_saved(tmp_path / "lm.pt", {"model": {"w": torch.zeros(2)}}, pickle_protocol=0))


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_records_of_fairseq_need_no_fairseq(tmp_path: Path, layout: str) -> None:
    content = {
        "args": argparse.Namespace(arch="transformer_lm_big", decoder_layers=2),
        "model": {"w": torch.ones(2, 3, dtype=torch.float16)},
        "extra_state": {"best": np.float64(1.5), "edges": np.arange(3)},
    }
    found = read_torch_file(_saved(tmp_path / "old.pt", content, **LAYOUTS[layout])).content
    assert entries(found["args"]) == {"arch": "transformer_lm_big", "decoder_layers": 2}
    assert isinstance(found["args"], Inert)
    assert isinstance(found["extra_state"]["edges"], PickledArray)
    assert torch.equal(found["model"]["w"].tensor(), torch.ones(2, 3, dtype=torch.float16))


def test_a_hubert_checkpoint_needs_no_fairseq() -> None:
    folder = shared_folder("golden/hubert")
    found = read_checkpoint(str(folder / "checkpoint.pt"))
    assert found.model["_name"] == "hubert"
    assert "encoder.layers.0.fc1.weight" in found.tensors


@pytest.mark.parametrize("file", ["checkpoint.pt", "checkpoint_args_namespace.pt", "checkpoint_fp16.pt"])
def test_both_layouts_state_model_and_task(file: str) -> None:
    found = read_checkpoint(str(shared_folder("golden/gslm") / file))
    assert (found.model["_name"], found.model["decoder_attention_heads"]) == ("transformer_lm_big", 4)
    assert found.task["tokens_per_sample"] == 3072


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file instead of a checkpoint; fetch the file again"),
        (b"hello, this is a text file\n" * 100, "a text instead of a checkpoint; name the original file"),
        (SMALL["zip"][:-200], r"damaged \(the directory at its end is missing.*\); fetch the file again"),
        (SMALL["zip"][:100], r"damaged \(the directory at its end is missing.*\); fetch the file again"),
        (SMALL["legacy"][:-10], r"damaged \(it ends too early\); fetch the file again"),
        (SMALL["legacy"][:-60], r"not a complete file of torch\.save .*; fetch it again"),
    ],
)
def test_damage_is_said_in_a_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "file.pt").write_bytes(content)
    with pytest.raises(BackboneError, match=rf"file\.pt: {said}$"):
        read_torch_file(str(tmp_path / "file.pt"))


@settings(max_examples=150)
@given(st.sampled_from(sorted(SMALL)), st.data())
def test_no_damage_ends_in_another_way(layout: str, data: st.DataObject) -> None:
    content = bytearray(SMALL[layout])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "damaged.pt"
        file.write_bytes(bytes(content))
        with suppress(BackboneError):
            read_checkpoint(str(file))


def test_an_archive_whose_names_are_no_text_is_damaged(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(SMALL["zip"])) as archive:
        name = archive.infolist()[0].filename.encode()
    flagged = bytearray(SMALL["zip"].replace(name, b"\xff" * len(name)))
    central = flagged.rindex(b"PK\x01\x02", 0, flagged.rindex(b"\xff"))
    flagged[central + 9] |= 0x08  # says that the name is UTF-8
    (tmp_path / "model.pt").write_bytes(flagged)
    with pytest.raises(BackboneError, match=r"damaged \(its zip archive cannot be read: .*\); fetch the file again"):
        read_torch_file(str(tmp_path / "model.pt"))


def test_an_archive_of_several_disks_is_damaged(tmp_path: Path) -> None:
    data = SMALL["zip"]
    end = data.rindex(b"PK\x05\x06")
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 2)
    (tmp_path / "model.pt").write_bytes(data[:end] + locator + data[end:])
    with pytest.raises(BackboneError, match=r"damaged \(its zip archive cannot be read: .*\); fetch the file again"):
        read_torch_file(str(tmp_path / "model.pt"))


def test_a_small_file_that_unpacks_into_a_large_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(1 << 22))
    with pytest.raises(BackboneError, match=r"bomb\.pt: .*compressed, which torch\.save never does"):
        read_torch_file(str(path))


@pytest.mark.parametrize("value", ["text", None, np.zeros(2)], ids=["text", "none", "array"])
def test_what_is_no_tensor_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(BackboneError, match=r"any\.pt: model: w is no tensor"):
        read_checkpoint(_saved(tmp_path / "any.pt", {"model": {"w": value}}))


def test_a_tensor_that_repeats_its_numbers_is_refused(tmp_path: Path) -> None:
    large = _saved(tmp_path / "large.pt", {"model": {"w": torch.zeros(1).expand(1 << 39)}})
    with pytest.raises(BackboneError, match=r"w is not a plain tensor: it shows more than the 1 numbers of its data"):
        read_checkpoint(large)
    w = torch.zeros(8)
    many = _saved(tmp_path / "many.pt", {"model": {f"w{index}": w for index in range(9)}})
    with pytest.raises(BackboneError, match=r"its tensors show the same numbers many times"):
        read_checkpoint(many)


@pytest.mark.parametrize(
    ("tensor", "name"),
    [(torch.zeros(3).to_sparse(), "_rebuild_sparse_tensor"), (torch.zeros(3, device="meta"), "_rebuild_meta_tensor")],
    ids=["sparse", "meta"],
)
def test_tensors_of_other_kinds_are_refused_by_name(tmp_path: Path, tensor: Tensor, name: str) -> None:
    with pytest.raises(BackboneError, match=rf"would call torch\._utils\.{name}"):
        read_checkpoint(_saved(tmp_path / "any.pt", {"model": {"w": tensor}}))


@pytest.mark.parametrize("content", [[1], {"weights": {}}, {"model": [1]}, {"model": {1: torch.zeros(1)}}])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(BackboneError, match=r"any\.pt: (no checkpoint of fairseq|model: no tensors by name)"):
        read_checkpoint(_saved(tmp_path / "any.pt", content))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"gone\.pt: there is no such file; name the original file"):
        read_torch_file(str(tmp_path / "gone.pt"))


def test_a_checkpoint_in_s3(store_root: str) -> None:
    place = object_storage.join(store_root, "checkpoint.pt")
    object_storage.write_bytes(place, SMALL["zip"])
    assert torch.equal(read_checkpoint(place).tensors["w"], torch.arange(6.0))


def test_settings_that_nest_without_end_cost_nothing(tmp_path: Path) -> None:
    nested: list[Any] = []
    for _ in range(60):
        nested = [nested, nested]
    content = {"cfg": {"model": {"decoder_layers": nested}, "task": {"log_f0": nested}}, "model": {"w": torch.zeros(1)}}
    found = read_checkpoint(_saved(tmp_path / "nested.pt", content))
    with pytest.raises(BackboneError, match=r"cfg\.task\.log_f0 is a list instead of bool"):
        found.flag("log_f0")
