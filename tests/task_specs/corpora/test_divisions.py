"""The divisions of single data sets: official, the paper's, and drawn ones."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from infra import object_storage
from task_specs.example import Example
from task_specs.problems import ProblemList
from task_specs.readers.corpora.google_speech_commands_v1 import WORDS
from task_specs.readers.corpus import Corpus
from tests.fixtures import corpora
from tests.fixtures.corpora import HASHED
from tests.fixtures.s3_server import S3Server
from tests.fixtures.shared_data import shared_folder, shared_rows
from tests.task_specs.corpora.data_sets import read, spec_of


def file_of(example: Example) -> str:
    assert example.clip is not None
    return "/".join(example.clip.uri.split("/")[-2:])


@pytest.mark.parametrize("name", ["lithuanian_speech_commands", "arabic_speech_commands"])
def test_real_recordings_get_the_published_split_through_the_named_spec(name: str) -> None:
    rows = shared_rows(name)
    dataset = read(name, shared_folder(f"audio/{name}"))
    found = {(str(e.clip.uri), e.labels[0], e.split) for e in dataset.examples if e.clip is not None}
    assert found == {(row["path"], row["label"], row["split"]) for row in rows}
    spec = spec_of(name, "/")
    assert isinstance(spec.data, Corpus)
    assert dataset.counts == spec.data.expected


def test_the_copies_of_the_arabic_recordings_are_found_and_dropped() -> None:
    root = shared_folder("audio/arabic_speech_commands")
    rates, note = read("arabic_speech_commands", root).notes
    assert rates == (
        "the sample rate depends on the label (8000 Hz for 10 classes, 48000 Hz for 6 classes), so bandwidth alone "
        "tells some classes apart"
    )
    assert note.startswith(
        "770 of 1600 clips are copies of others, byte for byte; 81 of 123 valid clips are also in train; "
        "225 of 370 test clips are also in train"
    )
    dropped = read("arabic_speech_commands", root, duplicates="drop")
    assert sum(dropped.counts.values()) == 830
    contents = [object_storage.read_bytes(e.clip.uri) for e in dropped.examples if e.clip is not None]
    assert len(set(contents)) == 830
    assert dropped.counts["test"] == 292


def test_the_papers_lithuanian_silence() -> None:
    dataset = read("lithuanian_speech_commands", shared_folder("audio/lithuanian_speech_commands"), split="paper")
    assert dataset.counts == {"train": 598, "valid": 85, "test": 98}
    silence = [file_of(e) for e in dataset.split("test") if e.labels == ("_silence_",)]
    assert "_background_noise_/55.wav" in silence
    assert len(silence) == 10


def test_speech_commands_are_divided_by_the_hash_of_the_speaker(tmp_path: Path) -> None:
    corpora.google_speech_commands_v1(tmp_path)
    dataset = read("google_speech_commands_v1", tmp_path)
    words = {split: {file_of(e) for e in dataset.split(split) if e.speaker} for split in ("train", "valid")}
    assert words["valid"] == {f"{word}/{HASHED[2]}_nohash_0.wav" for word in (*WORDS, "bed")}
    assert f"bed/{HASHED[0]}_nohash_0.wav" in words["train"]
    assert not any(HASHED[3] in file_of(e) for e in dataset.examples)
    assert {e.labels[0] for e in dataset.examples if "/bed/" in str(e.clip)} == {"_unknown_"}


def test_silence_of_train_and_valid_are_different_parts_of_the_noise(tmp_path: Path) -> None:
    corpora.google_speech_commands_v1(tmp_path)
    dataset = read("google_speech_commands_v1", tmp_path)
    pieces = {
        split: [(e.clip.start or 0.0, e.clip.end) for e in dataset.split(split) if e.clip and e.clip.end]
        for split in ("train", "valid")
    }
    assert pieces["train"] == [(float(start), start + 1) for start in range(18)]
    assert pieces["valid"] == [(18.0, 19), (19.0, 20)]


def test_the_papers_speech_commands_are_drawn_evenly_with_replacement(tmp_path: Path) -> None:
    corpora.google_speech_commands_v1(tmp_path)
    drawn = [
        spec_of("google_speech_commands_v1", tmp_path, split="paper", seed=seed).data.read(ProblemList()).rows
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert Counter(row.example.split for row in drawn[0]) == {"train": 22 + 1, "valid": 11 + 1, "test": 12}
    clips = [row.example.clip for row in drawn[0] + drawn[2] if "_background_noise_" in str(row.example.clip)]
    assert len(clips) > 1
    assert all(clip and 0 <= (clip.start or 0) <= 19 and clip.end == (clip.start or 0) + 1 for clip in clips)


def test_grabo_recordings_are_taken_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    corpora.grabo(tmp_path)
    dataset = read("grabo", tmp_path, split="paper")
    assert dataset.counts == {"train": 3 * 36 * 2, "valid": 3 * 36 * 4, "test": 3 * 36}
    assert {Path(file_of(e)).name for e in dataset.split("train")} == {"Voice_1.wav", "Voice_2.wav"}
    assert {Path(file_of(e)).name for e in dataset.split("test")} == {"Voice_10.wav"}


def test_the_published_takes_of_the_mandarin_commands_are_test(tmp_path: Path) -> None:
    corpora.dysarthric_mandarin_speech_commands(tmp_path)
    official = read("dysarthric_mandarin_speech_commands", tmp_path)
    takes = [re.findall(r"\((\d+)\)", file_of(e))[0] for e in official.split("test") if "SPK1/07" in str(e.clip)]
    assert sorted(takes) == ["1", "5", "8"]
    assert set(Counter(e.labels[0] for e in official.split("valid")).values()) == {3}
    paper = read("dysarthric_mandarin_speech_commands", tmp_path, split="paper")
    assert len(paper.labels[0]) == 13
    assert paper.counts == {"train": 219, "valid": 54, "test": 117}
    speakers = read("dysarthric_mandarin_speech_commands", tmp_path, split="speakers")
    assert speakers.counts == {"train": 190, "valid": 190, "test": 190}


def test_sounds_of_one_recording_are_in_one_fold(tmp_path: Path) -> None:
    corpora.esc50(tmp_path)
    dataset = read("esc50", tmp_path, fold=5)
    folds = {split: {Path(file_of(e)).name[0] for e in dataset.split(split)} for split in ("train", "valid", "test")}
    assert folds == {"train": {"2", "3", "4"}, "valid": {"1"}, "test": {"5"}}


def test_the_papers_draw_of_esc50_is_that_of_scikit_learn(tmp_path: Path) -> None:
    corpora.esc50(tmp_path)
    dataset = read("esc50", tmp_path, split="paper")
    rest = [f"audio/{fold}-{10_000 + target}-A-{target}.wav" for fold in range(2, 6) for target in range(50)]
    train, valid = train_test_split(np.array(rest), test_size=0.2, random_state=1)
    assert {file_of(e) for e in dataset.split("valid")} == set(valid)
    assert {file_of(e) for e in dataset.split("train")} == set(train)


def test_excitement_is_happiness_and_the_turn_says_who_speaks(tmp_path: Path) -> None:
    corpora.iemocap(tmp_path)
    dataset = read("iemocap", tmp_path, session=5)
    assert {file_of(e).split("_")[0] for e in dataset.split("test")} == {"Ses05F"}
    assert {file_of(e).split("_")[0] for e in dataset.split("valid")} == {"Ses01F"}
    assert Counter(e.labels[0] for e in dataset.split("test")) == {"neu": 1, "hap": 2, "ang": 1, "sad": 1}
    speakers = {file_of(e).rpartition("_")[2]: e.speaker for e in dataset.split("test")}
    assert speakers == {"F000.wav": "Ses05F", "M001.wav": "Ses05M", "F002.wav": "Ses05F", "M003.wav": "Ses05M",
                        "F004.wav": "Ses05F"}  # fmt: skip
    spec = spec_of("iemocap", tmp_path, session=5)
    assert isinstance(spec.data, Corpus)
    assert spec.data.expected["test"] == 1_241


def test_anonymous_sessions_are_different_people(tmp_path: Path) -> None:
    corpora.voxforge(tmp_path)
    dataset = read("voxforge", tmp_path)
    voices = {e.speaker for e in dataset.examples if e.labels == ("en",)}
    assert voices == {"en anonymous-20080412-gsr", "en anonymous-20100101-abc", "en Bob"}
    capped = read("voxforge", tmp_path, per_language=9)
    assert sum(capped.counts.values()) == 6 * 9


def test_friends_are_the_test_of_mustard(tmp_path: Path) -> None:
    corpora.mustard(tmp_path)
    dataset = read("mustard", tmp_path)
    assert {e.speaker for e in dataset.split("test")} == {"FRIENDS ROSS"}
    assert dataset.labels == (("sarcastic", "sincere"),)


def test_genders_come_from_the_list_of_people(tmp_path: Path) -> None:
    corpora.voxceleb1_gender(tmp_path)
    dataset = read("voxceleb1_gender", tmp_path)
    assert {e.speaker: e.labels[0] for e in dataset.split("test")} == {"id10270": "male", "id10271": "female"}


def test_pieces_of_a_recording_keep_their_times(tmp_path: Path) -> None:
    corpora.voice_activity(tmp_path)
    dataset = read("voice_activity", tmp_path)
    times = Counter((e.clip.start, e.clip.end) for e in dataset.split("test") if e.clip is not None)
    assert times == {(None, 0.63): 4, (0.63, 1.26): 2}


def test_a_data_set_in_s3_is_read_without_opening_its_recordings(tmp_path: Path, s3: S3Server) -> None:
    prefix = s3.fresh_prefix()
    tree = corpora.fluent_speech_commands(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in files:
        object_storage.upload(str(path), f"{prefix}/{path.relative_to(tmp_path)}")
    object_storage.write_bytes(f"{prefix}/{tree.audio}", b"not audio")
    dataset = read("fluent_speech_commands", prefix)
    assert dataset.counts == read("fluent_speech_commands", tmp_path).counts
    assert dataset.notes == (
        "recordings in S3 were not searched for copies; 'duplicates: drop' under data reads them all",
    )
    copied = next(e.clip.uri for e in dataset.split("test") if e.clip)
    object_storage.write_bytes(copied, b"not audio")
    assert read("fluent_speech_commands", prefix, duplicates="drop").counts["train"] == dataset.counts["train"] - 1
    problems = ProblemList()
    assert not spec_of("esc50", "s3://no-such-bucket-here/esc").data.read(problems).complete
    assert len(problems.collected()) == 1
