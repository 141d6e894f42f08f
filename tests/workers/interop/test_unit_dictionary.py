"""Dictionaries of unit LMs as fairseq writes them, and as they look after other programs had them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.errors import BackboneError
from workers.unit_lm.gslm.dictionary import UNKNOWN, UnitDictionary, read_dictionary


def _read(folder: Path, text: str | bytes) -> UnitDictionary:
    (folder / "dict.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_dictionary(str(folder / "dict.txt"))


def _lines(units: list[int] | range) -> str:
    return "".join(f"{unit} {1000 - unit}\n" for unit in units)


ALL = _lines(range(10))


@pytest.mark.parametrize(
    ("text", "unit_tokens", "vocabulary"),
    [
        (ALL.replace("\n", "\r\n"), range(4, 14), 14),
        (b"\xef\xbb\xbf" + ALL.encode(), range(4, 14), 14),
        (ALL.encode("utf-16"), range(4, 14), 14),
        (ALL.replace(" ", "\t"), range(4, 14), 14),
        (ALL + "\n \n", range(4, 14), 14),
        (ALL[:-1], range(4, 14), 14),
        ("".join(f"{unit}\n" for unit in range(10)), range(4, 14), 14),
        ("<s> 1\n<pad> 1\n</s> 1\n<unk> 1\n" + ALL, range(4, 14), 14),
        (ALL + "0 7 #fairseq:overwrite\n", [14, *range(5, 14)], 15),
        ("<unk> 7 #fairseq:overwrite\n" + ALL, range(5, 15), 15),
        ("madeupword0000 0\n" + ALL + "madeupword0001 0\n", range(5, 15), 16),
        ("<lang:en> 3\n" + ALL + "| 1\n", range(5, 15), 16),
    ],
)
def test_what_means_the_same_is_read(tmp_path: Path, text: str | bytes, unit_tokens: range, vocabulary: int) -> None:
    found = _read(tmp_path, text)
    assert (list(found.unit_tokens), found.vocabulary) == (list(unit_tokens), vocabulary)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ([3], "unit 3 is not in it"),
        ([0], "unit 0 is not in it"),
        ([5, 7], "units 5, 7 are not in it"),
        (list(range(20, 30)), "units 20, 21, 22, 23, 24 (and 5 more) are not in it"),
    ],
)
def test_units_that_the_corpus_lacked_are_unknown(tmp_path: Path, missing: list[int], said: str) -> None:
    present = [unit for unit in range(50) if unit not in missing]
    found = _read(tmp_path, _lines(present))
    assert [unit for unit, token in enumerate(found.unit_tokens) if token == UNKNOWN] == missing
    assert [found.unit_tokens[unit] for unit in present] == list(range(4, 4 + len(present)))
    [note] = found.notes
    assert note == f"{tmp_path}/dict.txt: {said}, as where the LM's corpus had none; the LM reads <unk> instead"


@pytest.mark.parametrize("missing", [[49], [48, 49], [3, 49]])
def test_the_last_units_may_be_missing_too(tmp_path: Path, missing: list[int]) -> None:
    found = _read(tmp_path, _lines([unit for unit in range(50) if unit not in missing])).of(50)
    assert [unit for unit, token in enumerate(found.unit_tokens) if token == UNKNOWN] == missing
    assert ("units " if len(missing) > 1 else "unit ") + ", ".join(map(str, missing)) in found.notes[0]


def test_another_tokenizers_number_of_units_changes_nothing(tmp_path: Path) -> None:
    found = _read(tmp_path, ALL)
    assert found.of(100) is found
    assert found.of(10) is found
    assert found.of(9) is found
    assert found.notes == ()


def test_symbols_that_are_no_units_are_noted(tmp_path: Path) -> None:
    [note] = _read(tmp_path, ALL + "<lang:en> 3\n").notes
    assert note.endswith("no unit becomes a token of '<lang:en>', which are no numbers of units")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            _lines(range(0, 100, 2)),
            ": unit 1 is missing among 50 units, and 48 more below 99; name the dict.txt of the",
        ),
        ("5000000 3\n0 1\n", ": unit 1 is missing among 2 units, and 4999998 more"),
        ("the 900\nof 800\n0 700\n", ":1: 'the' is not the number of a unit; name the dict.txt of an LM over units"),
        (ALL + "1.5 3\n", ":11: '1.5' is not the number of a unit"),
        (ALL + "<pad> 3\n", ":11: <pad> stands there twice"),
        (ALL + "| 3\n| 3\n", ":12: | stands there twice"),
        (ALL + "3\n", ":11: '3' is not a symbol and its count"),
        (ALL + "a b 3\n", ":11: 'a b 3' is not a symbol and its count"),
        ("0 1\n\n1 1\n", ":2: '' is not a symbol and its count"),
        ("<!DOCTYPE html>\n<html> 404\n", ": an HTML page instead of a dictionary of fairseq; fetch the file again"),
        ("version https://git-lfs.github.com/spec/v1\noid 1\n", ": a git-LFS pointer instead of a dictionary"),
        ('{"0": 1}', ": a JSON document instead of a dictionary of fairseq; name the dict.txt of the LM"),
    ],
)
def test_the_dictionary_of_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BackboneError) as caught:
        _read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/dict.txt{said}")


@settings(max_examples=50)
@given(st.permutations(range(12)), st.sets(st.integers(0, 10), max_size=3))
def test_every_unit_has_the_token_of_its_line(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], missing: set[int]
) -> None:
    present = [unit for unit in order if unit not in missing]
    found = _read(tmp_path_factory.mktemp("any"), _lines(present))
    assert list(found.unit_tokens) == [4 + present.index(unit) if unit in present else UNKNOWN for unit in range(12)]
