"""Copies and headers of the recordings of a manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from task_specs.dataset import read_dataset
from task_specs.schema import TaskSpec
from tests.fixtures import corpora
from tests.fixtures.corpora import record
from tests.fixtures.damaged_audio import with_data_size, with_total, without_count
from tests.fixtures.tones import audio_bytes, tone
from tests.task_specs.files import delimited, problems_of, recordings, spec, task

ROWS = [
    {"path": "a.wav", "label": "x", "split": "train"},
    {"path": "b.wav", "label": "y", "split": "train"},
    {"path": "c.wav", "label": "y", "split": "train"},
    {"path": "d.wav", "label": "x", "split": "valid"},
    {"path": "e.wav", "label": "x", "split": "test"},
    {"path": "f.wav", "label": "x", "split": "test"},
]


def recorded(root: Path, **same: str) -> None:
    for row in ROWS:
        record(root / row["path"])
    for copy, original in same.items():
        (root / f"{copy}.wav").write_bytes((root / f"{original}.wav").read_bytes())


def test_a_manifest_is_searched_for_copies_unless_it_says_otherwise(tmp_path: Path) -> None:
    recorded(tmp_path, e="a")
    assert read_dataset(task(tmp_path, delimited(ROWS), duplicates=None)).notes == ()
    [note] = read_dataset(task(tmp_path, delimited(ROWS))).notes
    assert note == (
        "1 of 6 clips are copies of others, byte for byte; 1 of 2 test clips are also in train "
        f"({tmp_path}/data.csv:2, 6); 'duplicates: drop' under data keeps each once"
    )


def test_empty_files_are_no_copies(tmp_path: Path) -> None:
    recordings(tmp_path, *(row["path"] for row in ROWS))
    assert read_dataset(task(tmp_path, delimited(ROWS))).notes == ()


def test_each_content_is_kept_once_in_test_before_valid_before_train(tmp_path: Path) -> None:
    recorded(tmp_path, b="c", d="a", f="e")
    record(tmp_path / "g.wav")
    record(tmp_path / "h.wav")
    (tmp_path / "h.wav").write_bytes((tmp_path / "e.wav").read_bytes())
    more = [{"path": "g.wav", "label": "x", "split": "train"}, {"path": "h.wav", "label": "x", "split": "valid"}]
    dataset = read_dataset(task(tmp_path, delimited([*ROWS, *more]), duplicates="drop"))
    kept = [Path(example.clip.uri).name for example in dataset.examples if example.clip]
    assert kept == ["b.wav", "d.wav", "e.wav", "g.wav"]


def test_copies_with_different_labels_are_noted(tmp_path: Path) -> None:
    recorded(tmp_path, f="b")
    notes = read_dataset(task(tmp_path, delimited(ROWS), duplicates="keep")).notes
    assert notes[1:] == (
        f"1 recordings occur with different labels ({tmp_path}/data.csv:3, 7); keep the one with the right label",
    )


def test_pieces_of_copies_are_copies_only_at_the_same_times(tmp_path: Path) -> None:
    recorded(tmp_path, e="a")
    rows = [{**row, "start": 0, "end": 0.05 if row["path"] == "e.wav" else 0.1} for row in ROWS]
    assert read_dataset(task(tmp_path, delimited(rows), duplicates="keep")).notes == ()
    rows = [{**row, "start": 0, "end": 0.1} for row in ROWS]
    assert len(read_dataset(task(tmp_path, delimited(rows), duplicates="keep")).notes) == 1


def test_units_and_rows_that_repeat_a_clip_are_no_copies(tmp_path: Path) -> None:
    recorded(tmp_path)
    assert read_dataset(task(tmp_path, delimited([*ROWS, ROWS[0]]), duplicates="drop")).counts["train"] == 4
    units = [{"units": "1 2", "label": row["label"], "split": row["split"]} for row in ROWS]
    assert read_dataset(task(tmp_path, delimited(units), duplicates="drop")).notes == ()


def test_the_headers_of_a_manifests_recordings_are_left_to_the_tokenizer(tmp_path: Path) -> None:
    recordings(tmp_path, *(row["path"] for row in ROWS))
    assert problems_of(task(tmp_path, delimited(ROWS))) == []


def test_a_sample_rate_that_goes_with_the_label_is_noted(tmp_path: Path) -> None:
    for label, rate in {"doors": 8_000, "windows": 16_000}.items():
        for take in range(3):
            record(tmp_path / f"{label}/{take}.wav", rate=rate)
    folders = spec(tmp_path, data={"reader": "folders", "root": "."})
    assert read_dataset(folders).notes == (
        "the sample rate depends on the label (8000 Hz for 1 classes, 16000 Hz for 1 classes), so bandwidth alone "
        "tells some classes apart",
    )
    record(tmp_path / "doors/0.wav", rate=16_000)
    assert read_dataset(folders).notes == ()


def test_an_end_beyond_the_recording_is_said(tmp_path: Path) -> None:
    tree = corpora.voice_activity(tmp_path)
    record(tmp_path / tree.audio, seconds=1)
    found = problems_of(spec(tmp_path, data={"reader": "voice_activity", "root": "."}))
    assert [problem.message for problem in found] == ["training.wav has 1.00 s, which is shorter than its clip"]


_TONE = tone(440, 0.5)


def _folders(root: Path, recording: bytes) -> TaskSpec:
    for label in "xy":
        for take in range(3):
            record(root / f"{label}/{take}.wav")
    (root / "x/0.wav").write_bytes(recording)
    return spec(root, data={"reader": "folders", "root": "."})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (audio_bytes(_TONE)[:-500], "promises 8000 samples but 7750 follow"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-LFS pointer"),
        (audio_bytes(_TONE, format="OGG")[:-100], "ends within page"),
        (with_total(audio_bytes(_TONE, format="FLAC"), 2**36 - 1), "can hold"),
        (audio_bytes(_TONE, format="MP3")[:-800], "promises"),
        (audio_bytes(_TONE, sample_rate=7), "samples per second"),
        (b"<html>404</html>", "an HTML page"),
    ],
)
def test_a_header_that_decoding_refuses_is_a_problem_with_the_same_reason(
    tmp_path: Path, data: bytes, words: str
) -> None:
    [problem] = problems_of(_folders(tmp_path, data))
    assert problem.file.endswith("x/0.wav")
    assert words in problem.message
    assert "write 'check: names' under data to have it quarantined" in problem.remedy


@pytest.mark.parametrize(
    "changed",
    [
        lambda: with_data_size(audio_bytes(_TONE), 0xFFFFFFFF),
        lambda: with_total(audio_bytes(_TONE, format="FLAC"), 0),
        lambda: without_count(audio_bytes(_TONE, format="MP3")),
        lambda: b"ID3\x04\x00\x00\x00\x00\x00\x00" + audio_bytes(_TONE),
    ],
)
def test_a_header_that_was_never_finished_is_no_problem(tmp_path: Path, changed: Callable[[], bytes]) -> None:
    assert problems_of(_folders(tmp_path, changed())) == []
