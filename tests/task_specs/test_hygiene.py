"""Rows that are sound one by one, and odd together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from task_specs.dataset import read_dataset
from task_specs.schema import TaskSpec
from tests.task_specs.files import SOUND, delimited, problems_of, recordings, spec, task

LONG = " ".join(map(str, range(20)))
SHORT = " ".join(map(str, range(19)))


def rows(*cells: str, columns: str = "path,label,split") -> list[dict[str, str]]:
    """Rows of comma-separated cells, after six that are sound."""
    names = columns.split(",")
    sound = [f"{split}{label}.wav,{label},{split}" for split in ("train", "valid", "test") for label in ("no", "yes")]
    return [
        dict(zip(names, [*cell.split(","), *[""] * len(names)][: len(names)], strict=True)) for cell in (*sound, *cells)
    ]


def manifest(tmp_path: Path, content: Sequence[Mapping[str, Any]], **data: Any) -> TaskSpec:
    recordings(tmp_path, *(row["path"] for row in content if "path" in row))
    return task(tmp_path, delimited(content), **data)


def notes_of(tmp_path: Path, content: Sequence[Mapping[str, Any]], **data: Any) -> list[str]:
    notes = read_dataset(manifest(tmp_path, content, **data)).notes
    return [note.replace(f"{tmp_path}/", "") for note in notes]


RIGHT = "keep the row with the right label"
TIMES = "path,label,split,start,end"
SPEAKERS = "path,label,split,speaker"


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (rows("a.wav,no,train", "a.wav,yes,train"), f"1 clip has more than one label (data.csv:8, 9); {RIGHT}"),
        (rows("a.wav,no,test", "./a.wav,yes,test"), f"1 clip has more than one label (data.csv:8, 9); {RIGHT}"),
        (rows("a.wav,no,train,0,1", "a.wav,yes,train,,1", columns=TIMES),
         f"1 clip has more than one label (data.csv:8, 9); {RIGHT}"),
        (rows("a.wav,no,train", "b.wav,no,train", "a.wav,yes,train", "b.wav,yes,train", "a.wav,no,train"),
         f"2 clips have more than one label (data.csv:8, 10, 12, 9, 11); {RIGHT}"),
        (rows("trainno.wav,no,train", "trainno.wav,no,train"),
         "2 of 8 rows repeat a clip with the same label (data.csv:8, 9); remove them unless they should count more"),
        (rows("a.wav,no,train,0,2", "a.wav,no,test,1,3", columns=TIMES), "1 of 8 clips overlap a clip of another split "
         "in the same recording (data.csv:9); take the splits from different recordings, or from separate times"),
        (rows("a.wav,no,train", "a.wav,yes,valid,5,6", columns=TIMES), "1 of 8 clips overlap a clip of another split "
         "in the same recording (data.csv:9); take the splits from different recordings, or from separate times"),
        (rows("a.wav,no,train,,,ana", "b.wav,yes,valid,,,bo", "c.wav,no,test,,,ana", "d.wav,yes,test,,,cy",
              columns=f"{TIMES},speaker"),
         "1 of 2 speakers of test are also in train (data.csv:10); keep each speaker in one split"),
        (rows(*(f"{split}{n}.wav,no,{split},s{n}" for n in range(7) for split in ("train", "valid", "test")),
              columns=SPEAKERS), "7 of 7 speakers of valid and 7 of 7 speakers of test are also in train (data.csv:9, "
         "10, 12, 13, 15 and 9 more); keep each speaker in one split"),
    ],
)  # fmt: skip
def test_what_is_odd_is_noted_with_counts_and_places(tmp_path: Path, content: list[dict[str, str]], note: str) -> None:
    assert notes_of(tmp_path, content) == [note]
    strict = manifest(tmp_path, content).model_copy(update={"strict": True})
    message, _, remedy = note.rpartition("; ")
    [problem] = problems_of(strict)
    assert problem.field == "data"
    assert problem.message.replace(f"{tmp_path}/", "") == message
    assert problem.remedy == f"{remedy}, or remove 'strict'"


@pytest.mark.parametrize(
    "content",
    [
        rows("a.wav,no,train,0,1", "a.wav,yes,train,1,2", columns=TIMES),
        rows("a.wav,no,train,0,1", "a.wav,yes,test,1,2", "a.wav,no,train,2,3", columns=TIMES),
        rows("a.wav,no,train,0.5,1.504", "a.wav,yes,test,1.5,2", columns=TIMES),
        rows("a.wav,no,train,ana", "b.wav,yes,train,ana", "c.wav,no,test,bo", columns=SPEAKERS),
        # Whoever tells speakers apart has them in every split.
        rows(*(f"{split}{n}.wav,s{n},{split},{n}" for n in range(3) for split in ("train", "valid", "test")),
             columns=SPEAKERS),
    ],
)  # fmt: skip
def test_what_is_as_it_should_be_is_not(tmp_path: Path, content: list[dict[str, str]]) -> None:
    assert notes_of(tmp_path, content) == []


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        ("no", "No", "'no' in 3 rows, 'No' in 1 rows"),
        ("turn on", "turn  on", "'turn on' in 3 rows, 'turn  on' in 1 rows"),
        ("turn on", "turn\xa0on", r"'turn on' in 3 rows, 'turn\xa0on' in 1 rows"),
        ("no", "n\u200bo", r"'no' in 3 rows, 'n\u200bo' in 1 rows"),
        ("no", "\ufeffno", r"'no' in 3 rows, '\ufeffno' in 1 rows"),
        ("no", "n\xado", r"'no' in 3 rows, 'n\xado' in 1 rows"),
        ("no", "no\u202c", r"'no' in 3 rows, 'no\u202c' in 1 rows"),
        ("no", "\uff4e\uff4f", "'no' in 3 rows, '\uff4e\uff4f' in 1 rows"),
        ("fine", "\ufb01ne", "'fine' in 3 rows, '\ufb01ne' in 1 rows"),
        ("no", "n\u043e", r"'no' in 3 rows, 'n\u043e' in 1 rows"),
        ("pre-paid", "pre\u2013paid", r"'pre-paid' in 3 rows, 'pre\u2013paid' in 1 rows"),
        ("don't", "don\u2019t", r""""don't" in 3 rows, 'don\u2019t' in 1 rows"""),
    ],
)
def test_labels_that_look_alike_are_noted(tmp_path: Path, one: str, other: str, named: str) -> None:
    content = [{**row, "label": one if row["label"] == "no" else "x"} for row in rows()]
    content.append({"path": "a.wav", "label": other, "split": "train"})
    assert notes_of(tmp_path, content) == [
        f"labels that look alike are different classes: {named} (data.csv:8); spell them alike if they are one class"
    ]


@pytest.mark.parametrize(
    ("one", "other"), [("-1", "1"), ("ačiū", "aciu"), ("Maße", "Masse"), ("он", "она"), ("1", "10"), ("ko", "kо̄")]
)
def test_labels_that_differ_are_not(tmp_path: Path, one: str, other: str) -> None:
    content = [{**row, "label": one if row["label"] == "no" else other} for row in rows()]
    assert notes_of(tmp_path, content) == []


def test_slots_are_told_apart(tmp_path: Path) -> None:
    content = [{**row, "object": "Lamp" if row["split"] == "test" else "lamp"} for row in SOUND]
    content.append({"units": "9", "label": "no", "object": "Lamp", "split": "train"})
    notes = notes_of(tmp_path, content, label=["label", "object"])
    assert notes == [
        "object: labels that look alike are different classes: 'lamp' in 3 rows, 'Lamp' in 2 rows (data.csv:5, 6); "
        "spell them alike if they are one class"
    ]


@pytest.mark.parametrize(
    ("units", "note"),
    [
        ([(LONG, "no", "train"), (LONG, "no", "test")], "1 unit sequences of test are also in train (data.csv:7); keep "
         "each recording in one split"),
        ([(LONG, "no", "valid"), (LONG, "no", "train"), (LONG, "no", "test")], "1 unit sequences of valid and 1 unit "
         "sequences of test are also in train (data.csv:6, 8); keep each recording in one split"),
        ([(LONG, "no", "train"), (LONG, "yes", "train")],
         f"1 unit sequence has more than one label (data.csv:6, 7); {RIGHT}"),
        ([(SHORT, "no", "train"), (SHORT, "no", "test"), (SHORT, "yes", "test")], None),
        ([(LONG, "no", "train"), (LONG, "no", "train"), (f"{LONG} 3", "no", "test")], None),
    ],
)  # fmt: skip
def test_long_units_that_splits_share_are_noted(
    tmp_path: Path, units: list[tuple[str, str, str]], note: str | None
) -> None:
    content = [*SOUND, *({"units": text, "label": label, "split": split} for text, label, split in units)]
    assert notes_of(tmp_path, content) == ([] if note is None else [note])


def test_copies_are_a_problem_only_where_they_stay(tmp_path: Path) -> None:
    content = rows("a.wav,no,train", "b.wav,no,test", "c.wav,yes,train")
    recordings(tmp_path, *(row["path"] for row in content))
    for copy in ("a.wav", "b.wav"):
        (tmp_path / copy).write_bytes(b"the same")
    kept = task(tmp_path, delimited(content)).model_copy(update={"strict": True})
    [problem] = problems_of(kept)
    assert problem.message.startswith("1 of 9 clips are copies of others, byte for byte; 1 of 3 test clips are also in")
    dropped = task(tmp_path, delimited(content), duplicates="drop").model_copy(update={"strict": True})
    assert problems_of(dropped) == []
    (tmp_path / "c.wav").write_bytes(b"the same")
    [problem] = problems_of(dropped)
    assert problem.message.startswith("1 recordings occur with different labels (")


def test_strict_is_true_or_false(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(delimited(SOUND), encoding="utf-8")
    assert spec(tmp_path, data={"path": "data.csv"}, strict=True).strict
    assert not spec(tmp_path, data={"path": "data.csv"}).strict
