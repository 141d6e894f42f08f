"""Archives of torch.save: nothing of one is believed whose checksums differ."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.errors import BackboneError
from workers.fairseq.checkpoint import FairseqCheckpoint, read_checkpoint

W, V = torch.arange(6.0) + 1, torch.tensor([0.5, -2.0, 3.0], dtype=torch.float16)


def _saved(**options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save({"args": None, "cfg": {"model": {"a": 1}}, "model": {"w": W, "v": V}}, buffer, **options)
    return buffer.getvalue()


PLAIN = _saved()
LEGACY = _saved(_use_new_zipfile_serialization=False)
MEMBERS = ("data.pkl", "data/0", "data/1", "byteorder", "version", ".data/serialization_id", ".format_version")


def _read(folder: Path, content: bytes) -> FairseqCheckpoint:
    (folder / "lm.pt").write_bytes(content)
    return read_checkpoint(str(folder / "lm.pt"))


def _is_whole(found: FairseqCheckpoint) -> bool:
    same = torch.equal(found.tensors["w"], W) and torch.equal(found.tensors["v"], V)
    return same and found.model == {"a": 1}


def _repacked(change: Callable[[dict[str, bytes]], object], **options: Any) -> bytes:
    """The archive written again by zipfile, with other members, and checksums that fit them."""
    with zipfile.ZipFile(io.BytesIO(PLAIN)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    change(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            with archive.open(name, "w", **options) as member:
                member.write(content)
    return buffer.getvalue()


@pytest.mark.parametrize("member", MEMBERS)
def test_one_flipped_bit_of_any_member_is_seen(tmp_path: Path, member: str) -> None:
    with zipfile.ZipFile(io.BytesIO(PLAIN)) as archive:
        content = archive.read(f"archive/{member}")
    place = PLAIN.index(content, PLAIN.index(f"archive/{member}".encode()))
    damaged = bytearray(PLAIN)
    damaged[place + len(content) - 1] ^= 0x10
    with pytest.raises(BackboneError) as caught:
        _read(tmp_path, bytes(damaged))
    said = f"lm.pt: damaged (the checksum of archive/{member} differs); fetch the file again"
    assert str(caught.value).endswith(said)


@settings(max_examples=100)
@given(st.integers(0, 8 * len(PLAIN) - 1))
def test_a_flipped_bit_is_an_error_or_changes_nothing(bit: int) -> None:
    damaged = bytearray(PLAIN)
    damaged[bit // 8] ^= 1 << bit % 8
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = _read(Path(folder), bytes(damaged))
        except BackboneError:
            return
    assert _is_whole(found)
    assert found.notes == ()


@settings(max_examples=100)
@given(st.integers(0, len(PLAIN) - 1), st.sampled_from([PLAIN, LEGACY]))
def test_what_is_cut_is_refused(length: int, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.raises(BackboneError, match=r"; (fetch|name) (\w+ )+"):
        _read(Path(folder), content[: min(length, len(content) - 1)])


def _twice() -> bytes:
    buffer = io.BytesIO(PLAIN)
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("archive/data/0", bytes(24))
    return buffer.getvalue()


def _fewer() -> bytes:
    """One that says it has seven members instead of eight."""
    end = PLAIN.rindex(b"PK\x05\x06")
    return PLAIN[: end + 8] + struct.pack("<HH", 7, 7) + PLAIN[end + 12 :]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PLAIN + b"<html>error</html>", "damaged (other bytes follow the end of its archive); fetch the file again"),
        (PLAIN + bytes(70_000), "damaged (the directory at its end is missing"),
        (b"garbage!" + PLAIN, "not a complete file of torch.save"),
        (PLAIN[:4] + b"garbage!" + PLAIN[4:], "damaged ("),
        (_twice(), "damaged (its archive has two members 'archive/data/0'); fetch the file again"),
        (_fewer(), "damaged (its archive has 8 members instead of 7); fetch the file again"),
        (
            _repacked(lambda m: m.update({"archive/data/0": bytes(20)})),
            "damaged (a storage has 20 bytes instead of 24)",
        ),
        (
            _repacked(lambda m: m.update({"archive/data/0": bytes(28)})),
            "damaged (a storage has 28 bytes instead of 24)",
        ),
        (_repacked(lambda m: m.pop("archive/data/1")), "damaged (a storage has 0 bytes instead of 6)"),
        (_repacked(lambda m: m.update({"archive/byteorder": b"middle"})), "of a byte order b'middle'"),
        (_repacked(lambda m: m.update({"archive/constants.pkl": b""})), "a TorchScript program"),
        (_repacked(lambda m: m.update({"other/data.pkl": b""})), "with 2 data.pkl"),
        (LEGACY + b"\n", "damaged (1 bytes follow its end); fetch the file again"),
        (LEGACY[:-24] + LEGACY[-16:], "damaged (it ends"),
    ],
)
def test_what_no_writer_writes_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(BackboneError) as caught:
        _read(tmp_path, content)
    assert said in str(caught.value)


def test_an_archive_written_without_checksums_is_read_with_a_note(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        content = _saved()
    finally:
        torch.serialization.set_crc32_options(True)
    found = _read(tmp_path, content)
    assert _is_whole(found)
    assert found.notes == (
        f"{tmp_path}/lm.pt: it was written without checksums, so a damaged number would not be seen; "
        "compare its SHA-256 with that of its source",
    )


def test_the_layout_without_checksums_is_read_with_a_note(tmp_path: Path) -> None:
    found = _read(tmp_path, LEGACY)
    assert _is_whole(found)
    assert "the layout from before torch 1.6 holds no checksums" in found.notes[0]


@pytest.mark.parametrize(
    "content",
    [
        _repacked(lambda _: None),
        _repacked(lambda _: None, force_zip64=True),
        _repacked(lambda m: m.pop("archive/byteorder")),
    ],
    ids=["by zipfile", "zip64", "no byte order"],
)
def test_other_writers_and_large_archives_are_read(tmp_path: Path, content: bytes) -> None:
    found = _read(tmp_path, content)
    assert _is_whole(found)
    assert found.notes == ()


def test_numbers_in_the_other_byte_order_are_swapped(tmp_path: Path) -> None:
    def swap(members: dict[str, bytes]) -> None:
        members["archive/byteorder"] = b"big"
        members["archive/data/0"] = W.numpy().byteswap().tobytes()
        members["archive/data/1"] = V.numpy().byteswap().tobytes()

    assert _is_whole(_read(tmp_path, _repacked(swap)))


def test_tensors_that_share_a_storage(tmp_path: Path) -> None:
    whole = torch.arange(24.0).view(4, 6)
    tied = {"w": whole, "t": whole.t(), "part": whole[1:3, ::2], "empty": whole[:0], "one": whole[3, 5]}
    torch.save({"model": dict(list(tied.items())[:1]), "extra": None}, tmp_path / "one.pt")
    torch.save({"model": {name: tied[name] for name in ("t", "part", "empty", "one")}}, tmp_path / "lm.pt")
    found = read_checkpoint(str(tmp_path / "lm.pt")).tensors
    assert all(torch.equal(found[name], tied[name]) for name in found)
