"""What must hold of stored files, of some hundred that are damaged."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from benchmarks.fuzzing.damages import damage
from benchmarks.fuzzing.recordings import Broken
from benchmarks.fuzzing.stored import KINDS
from benchmarks.fuzzing.stored_kind import Files, Odd, StoredKind
from benchmarks.fuzzing.stored_pool import StoredPool

EXECUTIONS = 25


@pytest.fixture(params=KINDS)
def pool(request: pytest.FixtureRequest, tmp_path: Path) -> StoredPool:
    return StoredPool(KINDS[request.param], tmp_path)


def test_all_holds_of_damaged_files(pool: StoredPool) -> None:
    for number in range(EXECUTIONS):
        files, _ = pool.damaged(Random(number))
        assert pool.check(files) in ("accepted", "refused", "not there")


def credulous() -> StoredKind:
    def write(place: Path, number: int) -> None:
        (place / "file").write_bytes(b"%d" % number)

    return StoredKind("whatever lies there", write, lambda place: (place / "file").read_bytes())


def test_a_reader_that_believes_everything_is_caught(tmp_path: Path) -> None:
    pool = StoredPool(credulous(), tmp_path)
    with pytest.raises(Broken, match="believed"):
        pool.check({"file": b"5"})


def test_an_error_without_a_name_is_let_out(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        StoredPool(credulous(), tmp_path).check({"file": Odd.DIRECTORY})


def test_the_same_number_does_the_same_damage() -> None:
    whole: Files = {"a/x.json": b'{"a": [1, 2.5, "b"]}', "b": b"12345678"}
    others: Files = {"c/x.json": b"{}", "d": b"87654321"}
    one, two = dict(whole), dict(whole)
    names = {name for number in range(300) for name in damage(dict(whole), others, Random(number))}
    assert damage(one, others, Random(7)) == damage(two, others, Random(7))
    assert one == two
    assert len(names) == 14
