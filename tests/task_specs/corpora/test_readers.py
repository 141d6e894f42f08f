"""What every reader of a published data set does: read the official layout, and say at once what is wrong with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.errors import InvalidInputs
from task_specs.dataset import Dataset, read_dataset
from task_specs.example import SPLITS
from task_specs.packaged import packaged_spec, packaged_specs
from task_specs.readers import READERS
from task_specs.readers.corpora.voxceleb1 import VoxCeleb1Speaker
from task_specs.readers.corpus import Corpus, DividedCorpus
from task_specs.schema import TaskSpec, load_task_spec
from tests.fixtures.corpora import BUILDERS, Tree, record

# Their recordings are found in directories, so that one that is absent is not missed; `tasks check` counts them.
FOUND_IN_DIRECTORIES = {
    "google_speech_commands_v1", "grabo", "lithuanian_speech_commands", "dysarthric_mandarin_speech_commands",
    "voxforge", "easycall", "accentdb",
}  # fmt: skip


@pytest.fixture(params=sorted(BUILDERS))
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return BUILDERS[request.param](tmp_path / "data")


@pytest.fixture
def built(tmp_path: Path) -> Callable[[str], Tree]:
    return lambda name: BUILDERS[name](tmp_path / "data")


DRAWN = [name for name, reader in READERS.items() if issubclass(reader, DividedCorpus) and reader.origin]


def spec_of(tree: Tree, **settings: str) -> TaskSpec:
    """The packaged spec, with the root of ``tree``."""
    path = packaged_spec(tree.reader)
    assert path is not None
    spec, problems = load_task_spec(path, data={"root": str(tree.root), **settings})
    assert spec is not None, problems
    return spec


def read(tree: Tree, **settings: str) -> Dataset:
    return read_dataset(spec_of(tree, **settings))


def wrong(tree: Tree, **settings: str) -> list[str]:
    """What is wrong, without the root."""
    with pytest.raises(InvalidInputs) as caught:
        read(tree, **settings)
    return [str(problem).replace(f"{tree.root}/", "") for problem in caught.value.problems]


def test_every_reader_has_a_spec_and_a_tree() -> None:
    readers = {name for name, reader in READERS.items() if issubclass(reader, Corpus) and reader.origin}
    assert len(readers) == 17
    assert {Path(path).stem for path in packaged_specs()} == readers == set(BUILDERS)


def test_the_official_layout_is_read(tree: Tree) -> None:
    spec = spec_of(tree)
    dataset = read_dataset(spec)
    assert isinstance(spec.data, Corpus)
    assert spec.name == tree.reader.replace("_", "-")
    assert spec.licence == spec.data.licence
    assert len(spec.slots) == len(spec.data.classes)
    assert sum(dataset.counts.values()) == tree.total
    if tree.counts is not None:
        assert tuple(dataset.counts.values()) == tree.counts
    assert all(dataset.counts.values())
    if tree.reader not in ("fluent_speech_commands", "voxceleb1_speaker"):
        assert tuple(map(len, dataset.labels)) == spec.data.classes
    for example in dataset.examples:
        assert example.clip is not None
        assert Path(example.clip.uri).is_file()
    assert read_dataset(spec).examples == dataset.examples


def test_no_speaker_is_in_two_splits(tree: Tree) -> None:
    """Where the data set's own division does not say otherwise, and but for classes with too few speakers."""
    dataset = read(tree)
    # The same commands of the same three speakers; identification of speakers; Arabic and sounds have no speakers.
    if tree.reader in ("dysarthric_mandarin_speech_commands", "voxceleb1_speaker"):
        return
    shared = {"easycall": {"2"}, "accentdb": {"odiya", "welsh"}}.get(tree.reader, set())
    assert [note for note in dataset.notes if "too few speakers" in note] == [
        f"{', '.join(sorted(shared))}: too few speakers to keep them apart, so each is in several splits"
    ] * bool(shared)
    splits: dict[str, set[str]] = {}
    for example in dataset.examples:
        if example.speaker is not None and example.labels[0] not in shared:
            splits.setdefault(example.speaker, set()).add(example.split)
    assert all(len(where) == 1 for where in splits.values())


@pytest.mark.parametrize("name", sorted(set(DRAWN) - {"google_speech_commands_v1"}))
def test_the_papers_way_and_seeds_make_other_divisions(built: Callable[[str], Tree], name: str) -> None:
    tree = built(name)
    choices = [str(option) for option in READERS[name].model_fields["split"].annotation.__args__]  # type: ignore[union-attr]
    found = {choice: read(tree, split=choice) for choice in choices}
    assert all(all(dataset.counts.values()) for dataset in found.values())
    assert len({dataset.examples for dataset in found.values()}) == len(choices)


def test_no_root_is_said_with_where_to_get_it(tree: Tree) -> None:
    shutil.rmtree(tree.root)
    [problem] = wrong(tree)
    reader = READERS[tree.reader]
    assert issubclass(reader, Corpus)
    where = f"get it from {reader.origin} (licence: {reader.licence})"
    assert problem == f"{tree.root}: there is no such directory; correct 'root', or {where}"


def test_missing_lists_and_unreadable_audio_are_said_at_once(tree: Tree) -> None:
    # Without its second list there is nothing to look for in VoxCeleb1, and without its videos in MUStARD.
    missing = () if tree.reader in ("voxceleb1_gender", "mustard", "mustard_plus_plus") else tree.lists[1:]
    for path in missing:
        whole = tree.root / path
        shutil.rmtree(whole) if whole.is_dir() else whole.unlink()
    recording = tree.root / tree.audio
    recording.parent.mkdir(parents=True, exist_ok=True)
    recording.write_bytes(b"not audio at all")
    said = wrong(tree)
    assert any("is not audio that can be decoded" in problem and recording.name in problem for problem in said)
    for path in missing:
        assert any(problem.startswith(path) and "there is no " in problem for problem in said), said


def test_each_missing_list_is_said(tree: Tree) -> None:
    for path in tree.lists:
        whole = tree.root / path
        away = whole.with_name(f".{whole.name}")
        whole.rename(away)
        said = wrong(tree)
        assert any(path in problem and "there is no " in problem and "get it from" in problem for problem in said), said
        away.rename(whole)
    assert read(tree).notes is not None


def test_a_missing_recording_is_said_with_the_line_that_names_it(tree: Tree) -> None:
    if tree.reader in FOUND_IN_DIRECTORIES:
        before = sum(read(tree).counts.values())
        (tree.root / tree.audio).unlink()
        assert sum(read(tree).counts.values()) == before - 1
        return
    (tree.root / tree.audio).unlink()
    said = wrong(tree)
    assert all(f"there is no file '{tree.audio}' in {tree.root}; get it from" in problem for problem in said)


def test_an_empty_recording_is_said_and_may_be_left_to_quarantine(tree: Tree) -> None:
    (tree.root / tree.audio).write_bytes(b"")
    assert any("is not audio that can be decoded" in problem for problem in wrong(tree))
    if "google" not in tree.reader:
        assert sum(read(tree, check="names").counts.values()) == tree.total


# Clips of voice_activity are pieces of recordings.
@pytest.mark.parametrize("tree", sorted(BUILDERS.keys() - {"voice_activity"}), indirect=True)
def test_copies_in_two_splits_are_noted_and_can_be_dropped(tree: Tree) -> None:
    dataset = read(tree)
    uris = {split: [example.clip.uri for example in dataset.split(split) if example.clip] for split in SPLITS}
    target = next(uri for uri in uris["train"] if "_background_noise_" not in uri)
    source = next(uri for uri in uris["test"] if Path(uri).suffix == Path(target).suffix)
    shutil.copy(source, target)
    [note] = [note for note in read(tree).notes if "are copies of others" in note]
    assert note.startswith(
        f"1 of {tree.total} clips are copies of others, byte for byte; 1 of {len(uris['test'])} test clips are also in "
        "train ("
    )
    assert note.endswith("); 'duplicates: drop' under data keeps each once")
    dropped = read(tree, duplicates="drop")
    assert dropped.counts == {**dataset.counts, "train": dataset.counts["train"] - 1}
    assert source in {example.clip.uri for example in dropped.split("test") if example.clip}


def edit(tree: Tree, path: str, old: str, new: str) -> None:
    text = (tree.root / path).read_text(encoding="utf-8")
    assert old in text
    (tree.root / path).write_text(text.replace(old, new, 1), encoding="utf-8")


WRONG_ROWS: list[tuple[str, str, str, str, str]] = [
    ("fluent_speech_commands", "data/train_data.csv", "lights,kitchen", "lights,", ":3: has an empty cell"),
    ("fluent_speech_commands", "data/valid_data.csv", ",kitchen", "", ":3: has 6 cells where the header has 7"),
    ("fluent_speech_commands", "data/test_data.csv", "speakerId", "who", ":1: speakerId: there is no such column"),
    ("asvspoof2019_la", "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt", "A04 spoof", "A04 fake",
     ":3: 'fake' is neither bonafide nor spoof"),
    ("asvspoof2019_la", "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt", "- A01", "",
     ":2: has 3 fields instead of 5"),
    ("iemocap", "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt", "\thap\t", " hap ",
     ":7: is not a turn with its emotion"),
    ("mustard", "sarcasm_data.json", '"sarcasm": true', '"sarcasm": "yes"', ": 3_0.sarcasm: is not true or false"),
    ("mustard", "sarcasm_data.json", "{", "[", ": is not JSON"),
    ("mustard_plus_plus", "mustard++_text.csv", "BBT,1,PRO", "BBT,2,PRO", ":7: Sarcasm: '2' is neither 0 nor 1"),
    ("voxceleb1_gender", "vox1_meta.csv", "\tf\t", "\tx\t", ":3: has no valid gender or part"),
    ("voxceleb1_gender", "vox1_meta.csv", "\tUSA", "", ":2: has 4 fields instead of 5"),
    ("voxceleb1_speaker", "iden_split.txt", "2 id10003", "4 id10003", ":6: '4' is not a split"),
    ("voice_activity", "manifest/balanced_speech_training_manifest.json", '"speech"', '"noise"',
     ":1: is not a piece of speech with its file, offset and duration"),
    ("voice_activity", "manifest/balanced_speech_testing_manifest.json", "0.63,", "-1,",
     ":1: is not a piece of speech"),
    ("esc50", "meta/esc50.csv", "A-7.wav,1,", "A-7.wav,6,", ":9: fold: '6' is not a fold"),
    ("esc50", "meta/esc50.csv", "sound 3", '"sound 3', ":5: cannot be read from here on"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "path", "old", "new", "said"), WRONG_ROWS)
def test_a_wrong_row_is_said_with_its_line(
    built: Callable[[str], Tree], name: str, path: str, old: str, new: str, said: str
) -> None:
    tree = built(name)
    edit(tree, path, old, new)
    assert any(problem.startswith(f"{path}{said}") for problem in wrong(tree)), wrong(tree)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("fluent_speech_commands", "data/train_data.csv"),
        ("asvspoof2019_la", "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt"),
        ("iemocap", "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"),
        ("mustard_plus_plus", "mustard++_text.csv"),
        ("voxceleb1_speaker", "iden_split.txt"),
        ("esc50", "meta/esc50.csv"),
    ],
)
def test_a_row_that_stands_there_twice_is_said(built: Callable[[str], Tree], name: str, path: str) -> None:
    tree = built(name)
    lines = (tree.root / path).read_text(encoding="utf-8").splitlines()
    row = next(
        line for line in reversed(lines) if line[:1] not in ("", "C", "A") and "fru" not in line and "xxx" not in line
    )
    (tree.root / path).write_text("\n".join([*lines, row]) + "\n", encoding="utf-8")
    [problem] = wrong(tree)
    assert "this clip is already listed in " in problem


@pytest.mark.parametrize(
    ("name", "path", "old", "new"),
    [
        ("fluent_speech_commands", "data/test_data.csv", "ro5AaKwypZIqNEp2/0a3129c0", "2BqVo8kVB2Skwgyb/0a3129c0"),
        ("esc50", "meta/esc50.csv", "2-10003-A-3.wav", "1-10003-A-3.wav"),
        ("voxceleb1_speaker", "iden_split.txt", "2 id10003/na8-QEFmj14", "2 id10003/na8-QEFmj04"),
        ("voice_activity", "manifest/balanced_speech_testing_manifest.json", "testing", "training"),
    ],
)
def test_a_clip_in_two_splits_is_said_beside_other_faults(
    built: Callable[[str], Tree], name: str, path: str, old: str, new: str
) -> None:
    tree = built(name)
    edit(tree, path, old, new)
    (tree.root / tree.audio).write_bytes(b"RIFF")
    said = wrong(tree)
    assert any("this clip of split " in problem and " is also in " in problem for problem in said), said
    assert any("is not audio that can be decoded" in problem for problem in said), said


@pytest.mark.parametrize(
    ("name", "stranger"),
    [
        ("grabo", "speakers/pp2/spchdatadir/recording37"),
        ("lithuanian_speech_commands", "dataset/gerai"),
        ("easycall", "f99"),
        ("accentdb", "data/scottish"),
    ],
)
def test_a_directory_that_does_not_belong_is_said(built: Callable[[str], Tree], name: str, stranger: str) -> None:
    tree = built(name)
    record(tree.root / stranger / "x.wav")
    [problem] = wrong(tree)
    assert problem.startswith(f"{stranger}: is not ")
    assert problem.endswith("; move it away")


@pytest.mark.parametrize(
    ("name", "folder"), [("mustard", "utterances_final"), ("mustard_plus_plus", "final_utterance_videos")]
)
def test_videos_without_their_sound_are_said_with_the_command(
    built: Callable[[str], Tree], name: str, folder: str
) -> None:
    tree = built(name)
    for path in (tree.root / folder).iterdir():
        path.rename(path.with_suffix(".mp4"))
    [problem] = wrong(tree)
    assert problem.startswith(
        f"{folder}: holds videos without their sound; extract it there: for f in *.mp4; do ffmpeg"
    )


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("lithuanian_speech_commands", ("dataset", "")),
        ("fluent_speech_commands", ("", "fluent_speech_commands_dataset")),
        ("voxforge", ("downloads", "www.repository.voxforge1.org/downloads")),
        ("asvspoof2019_la", ("", "LA")),
        ("iemocap", ("", "IEMOCAP_full_release")),
        ("accentdb", ("data", "")),
        ("mustard", ("sarcasm_data.json", "data/sarcasm_data.json")),
        ("mustard_plus_plus", ("final_utterance_videos", "final_utterances_videos")),
        ("voxceleb1_gender", ("test/wav", "wav")),
    ],
)
def test_layouts_that_archives_unpack_to_are_read(
    built: Callable[[str], Tree], name: str, moved: tuple[str, str]
) -> None:
    tree = built(name)
    before = read(tree).counts
    source, target = (tree.root / part for part in moved)
    if moved[0] == "":
        tree.root.rename(tree.root.with_name("away"))
        target.parent.mkdir(parents=True)
        tree.root.with_name("away").rename(target)
    elif moved[1] == "":
        for entry in list(source.iterdir()):
            entry.rename(target / entry.name)
        source.rmdir()
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    after = read(tree)
    assert sum(after.counts.values()) == sum(before.values())


def test_hidden_files_and_foreign_ones_are_passed_over(tree: Tree) -> None:
    recording = tree.root / tree.audio
    (recording.parent / f"._{recording.name}").write_bytes(b"macOS")
    (recording.parent / ".DS_Store").write_bytes(b"macOS")
    (recording.parent / "notes.doc").write_bytes(b"notes")
    assert sum(read(tree).counts.values()) == tree.total


def test_published_counts_add_up() -> None:
    totals: dict[str, Any] = {
        "fluent_speech_commands": 30_043, "asvspoof2019_la": 121_461, "voxceleb1_speaker": 153_516, "iemocap": 5_531,
        "grabo": 6_007, "arabic_speech_commands": 1_600, "esc50": 2_000, "voxforge": 10_800,
        "dysarthric_mandarin_speech_commands": 570, "google_speech_commands_v1": None, "mustard": 690,
        "mustard_plus_plus": 1_202, "voice_activity": 109_617, "accentdb": 17_313,
    }  # fmt: skip
    for name, total in totals.items():
        reader = READERS[name]
        assert issubclass(reader, Corpus)
        for split, counts in reader.published.items():
            sizes = {where: n if isinstance(n, int) else sum(n.values()) for where, n in counts.items()}
            if {"train", "valid", "test"} <= sizes.keys() and name != "dysarthric_mandarin_speech_commands":
                assert total in (None, sizes["train"] + sizes["valid"] + sizes["test"])
            elif "all" in sizes:
                assert (split, sizes["all"]) == (split, total)
    assert VoxCeleb1Speaker.classes == (1_251,)
