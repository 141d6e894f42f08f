"""Bundles of one who means harm: whatever the bytes are, a reader ends with a bundle or with a named error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.digest import FileEntry
from infra.errors import BundleError
from tests.fixtures.bundles import random_bundle
from tests.fixtures.mutations import one_thing_wrong
from workers.bundle.format import check_file, pack, parse_manifest, parse_tensors
from workers.bundle.listing import list_bundles
from workers.bundle.manifest import MANIFEST_FILE, PAYLOAD, PROMPT_FILE, FileName
from workers.bundle.publish import publish
from workers.bundle.read import find, read, verify


def small() -> dict[str, bytes]:
    return dict(pack(random_bundle(layers=1, length=1, dim=2, vocabulary=5)).files)


def forged(directory: Path, files: dict[str, bytes]) -> str:
    """A bundle whose manifest vouches for whatever the files are; its directory is called as no version is."""
    document = json.loads(files[MANIFEST_FILE])
    for name in document["files"]:
        document["files"][name] = FileEntry.of(files[name]).model_dump()
    directory.mkdir(exist_ok=True)
    for name, data in (files | {MANIFEST_FILE: json.dumps(document).encode()}).items():
        (directory / name).write_bytes(data)
    return str(directory)


def with_each_byte_altered(data: bytes) -> Iterator[bytes]:
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        yield bytes(changed)


def test_every_altered_byte_of_a_manifest_is_noticed(tmp_path: Path) -> None:
    published = publish(str(tmp_path), random_bundle(layers=1, length=1, dim=2, vocabulary=5))
    whole = verify(published.uri)
    file = Path(published.uri) / MANIFEST_FILE
    accepted = 0
    for changed in with_each_byte_altered(whole.document):
        file.write_bytes(changed)
        try:
            found = find(published.uri).manifest
        except BundleError as error:
            assert str(error).isprintable()  # noqa: PT017  what passes is looked at as well
            continue
        # Provenance is all that the version does not vouch for.
        assert found.model_copy(update={"provenance": whole.manifest.provenance}) == whole.manifest
        accepted += 1
    assert accepted < 200
    file.write_bytes(whole.document)
    verify(published.uri)


@pytest.mark.parametrize("name", PAYLOAD)
def test_every_altered_byte_of_a_file_is_noticed(tmp_path: Path, name: FileName) -> None:
    published = publish(str(tmp_path), random_bundle(layers=1, length=1, dim=2, vocabulary=5))
    entry, file = find(published.uri).manifest.files[name], Path(published.uri) / name
    for number, changed in enumerate(with_each_byte_altered(file.read_bytes())):
        with pytest.raises(BundleError, match="is not the file that"):
            check_file(changed, entry, file=name)
        if number % 200 == 0:
            file.write_bytes(changed)
            with pytest.raises(BundleError, match="is not the file that"):
                verify(published.uri)


def test_one_thing_wrong_in_a_manifest() -> None:
    """Whatever is accepted is a manifest that could have been written."""
    document = json.loads(pack(random_bundle(verbalizer="random")).files[MANIFEST_FILE])
    tried = 0
    for steps, changed in one_thing_wrong(document):
        data = json.dumps(changed).encode()
        tried += 1
        try:
            manifest = parse_manifest(data, file="bundle.json")
        except BundleError as error:
            assert str(error).startswith("bundle.json"), steps  # noqa: PT017
            assert str(error).isprintable(), steps  # noqa: PT017
            assert len(str(error)) < 600, steps  # noqa: PT017
        else:
            assert parse_manifest(manifest.model_dump_json().encode(), file="bundle.json") == manifest, steps
    assert tried > 1000


def test_altered_tensors_that_the_manifest_vouches_for(tmp_path: Path) -> None:
    files = small()
    for position in range(len(files[PROMPT_FILE])):
        changed = bytearray(files[PROMPT_FILE])
        changed[position] ^= 0xFF
        uri = forged(tmp_path / "forged", files | {PROMPT_FILE: bytes(changed)})
        try:
            bundle = read(uri)
        except BundleError:
            continue
        assert {name: array.shape for name, array in bundle.tensors.items()} == bundle.manifest.tensor_shapes


NAMES = st.sampled_from(["prompt.keys", "prompt.values", "separators", "verbalizer.0", "__metadata__", "", "\x1b"])
NUMBERS = st.one_of(st.integers(-2, 80), st.sampled_from([2**31, 2**53, 2**63, 2**64, 10**30]))
ENTRIES = st.one_of(
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "F16", "BF16", "F8_E4M3", "U64", "BOOL", "C64", "F128", ""]),
            "shape": st.lists(NUMBERS, max_size=4),
            "data_offsets": st.lists(NUMBERS, min_size=1, max_size=3),
        }
    ),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    st.none(),
)


@settings(max_examples=150, deadline=None)
@given(header=st.dictionaries(NAMES, ENTRIES, max_size=5), claimed=st.integers(-9, 9), data=st.binary(max_size=64))
def test_headers_of_tensors(header: dict[str, Any], claimed: int, data: bytes) -> None:
    text = json.dumps(header).encode()
    file = max(0, len(text) + claimed).to_bytes(8, "little") + text + data
    with pytest.raises(BundleError, match=r"^p\.safetensors"):
        parse_tensors(file, random_bundle().manifest, file="p.safetensors")


def test_a_long_header_is_not_parsed() -> None:
    entries = ",".join(f'"{number:x}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for number in range(2000))
    header = f"{{{entries}}}".encode()
    with pytest.raises(BundleError, match=r"p: a header of \d+ bytes, more than the 65536 allowed"):
        parse_tensors(len(header).to_bytes(8, "little") + header, random_bundle().manifest, file="p")


def test_a_file_larger_than_its_tensors_is_not_read(tmp_path: Path) -> None:
    files = small()
    uri = forged(tmp_path / "forged", files | {PROMPT_FILE: files[PROMPT_FILE] + bytes(70_000)})
    with pytest.raises(BundleError, match=r"said to have \d+ bytes, more than the \d+ allowed"):
        read(uri)


@pytest.mark.parametrize(
    "values",
    [b'"%x":1', b"1", b"[]", b'{"a":1}'],
)
def test_a_manifest_of_very_many_values_is_not_parsed(values: bytes) -> None:
    """A megabyte of them would become a gigabyte of faults."""
    many = b",".join(values % number if b"%" in values else values for number in range(400_001))
    data = b"{" + many + b"}" if b"%" in values else b'{"slots":[' + many + b"]}"
    with pytest.raises(BundleError, match="holds more than 400000 values"):
        parse_manifest(data, file="bundle.json")


def test_very_many_faults_are_counted_and_not_listed() -> None:
    document = json.loads(small()[MANIFEST_FILE])
    document["slots"][0]["labels"] = [1] * 20_000
    with pytest.raises(BundleError, match=r"2000\d of its fields are wrong"):
        parse_manifest(json.dumps(document).encode(), file="bundle.json")


def test_a_bundle_under_another_tasks_name_is_refused(tmp_path: Path) -> None:
    """Whole and unaltered, but not what was asked for."""
    good = publish(str(tmp_path), random_bundle(task="good"))
    other = publish(str(tmp_path), random_bundle(task="other"))
    Path(other.uri).rename(tmp_path / "good" / other.version)
    pointer = (tmp_path / "other" / "latest.json").read_bytes()
    (tmp_path / "good" / "latest.json").write_bytes(pointer)
    with pytest.raises(BundleError, match="is of task other, not good"):
        read(str(tmp_path / "good"))
    rows = {row.version: row for row in list_bundles(str(tmp_path))}
    assert "is of task other" in str(rows[other.version].problem)
    assert rows[good.version].problem is None
