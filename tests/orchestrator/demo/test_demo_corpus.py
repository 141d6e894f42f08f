"""The demo corpus: what is written, and that it is the same every time."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import defaultdict
from hashlib import sha256
from pathlib import Path

import pytest
import soundfile

from orchestrator.demo.corpus import write_corpus
from orchestrator.demo.demo_task import DemoTask
from orchestrator.demo.sentences import LANGUAGES, PARTS, sentences
from orchestrator.demo.tasks import demo_tasks
from orchestrator.demo.voices import draw_voices
from task_specs.dataset import read_dataset
from task_specs.example import SPLITS
from task_specs.schema import load_task_specs

ONE_CLIP_PER_CLASS = 0.001
TASKS = {task.name: task for task in demo_tasks()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, seed=0, scale=ONE_CLIP_PER_CLASS)
    return directory


def rows(corpus: Path, task: str) -> list[dict[str, str]]:
    with (corpus / "manifests" / f"{task}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digests(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_seven_tasks_over_six_languages() -> None:
    assert [(task.name, task.family, task.language, len(task.slots)) for task in demo_tasks()] == [
        ("english-commands", "SCR", "en", 1),
        ("german-commands", "SCR", "de", 1),
        ("lithuanian-commands", "SCR", "lt", 1),
        ("smart-home-intent", "IC", "en", 3),
        ("language-identification", "LID", "mul", 1),
        ("speaker-gender", "GID", "es", 1),
        ("speaking-style", "ER", "fr", 1),
    ]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_metrics_are_of_three_hundred_clips_at_least(task: DemoTask) -> None:
    for split in SPLITS[1:]:
        assert 300 <= task.clips_per_class(split) * len(task.classes[split]) < 400


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_label_is_in_every_split(corpus: Path, task: DemoTask) -> None:
    labels = defaultdict(set)
    for row in rows(corpus, task.name):
        for slot in task.slots:
            labels[slot, row["split"]].add(row[slot])

    for slot in task.slots:
        assert labels[slot, "train"] == labels[slot, "valid"] == labels[slot, "test"]
        assert len(labels[slot, "train"]) > 1


def test_no_speaker_is_in_two_splits(corpus: Path) -> None:
    speakers = defaultdict(set)
    for task in TASKS:
        for row in rows(corpus, task):
            speakers[row["split"]].add(row["speaker"])

    assert not speakers["train"] & speakers["valid"]
    assert not speakers["train"] & speakers["test"]
    assert not speakers["valid"] & speakers["test"]


def test_genders_speak_for_themselves(corpus: Path) -> None:
    genders = {voice.variant: voice.gender for voices in draw_voices(seed=0).values() for voice in voices}

    assert all(genders[row["speaker"]] == row["gender"] for row in rows(corpus, "speaker-gender"))


def test_sentences_are_in_one_split_and_their_parts_in_all() -> None:
    for language in LANGUAGES:
        said = {split: sentences(language, split, parts=3) for split in SPLITS}
        assert len({sentence for split in SPLITS for sentence in said[split]}) == 64
        for split in SPLITS:
            together = " ".join(said[split])
            assert all(words in together for part in PARTS[language] for words in part)


@pytest.mark.parametrize("task", TASKS)
def test_clips_are_audible_mono_and_of_bearable_length(corpus: Path, task: str) -> None:
    for row in rows(corpus, task):
        samples, sample_rate = soundfile.read(corpus / "audio" / row["path"], dtype="int16")
        assert soundfile.info(corpus / "audio" / row["path"]).subtype == "PCM_16"
        assert sample_rate == 22050
        assert samples.ndim == 1
        assert 0.5 <= len(samples) / sample_rate <= 3.2
        assert abs(samples.astype(int)).max() > 1000


def test_the_same_seed_gives_the_same_bytes_in_every_process(corpus: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from orchestrator.demo.corpus import write_corpus;"
        "from orchestrator.demo.speech import synthesize;"
        "[synthesize('an earlier user of the library', language='en', variant=name) for name in sys.argv[2:]];"
        f"write_corpus(Path(sys.argv[1]), seed=0, scale={ONE_CLIP_PER_CLASS})"
    )
    expected = digests(corpus)

    subprocess.run([sys.executable, "-c", script, str(tmp_path), "f2", "grandma"], check=True)
    assert digests(tmp_path) == expected


def test_another_seed_gives_other_clips_and_the_same_specs_and_progress_counts_every_clip(
    corpus: Path, tmp_path: Path
) -> None:
    calls: list[tuple[int, int]] = []
    write_corpus(tmp_path, seed=1, scale=ONE_CLIP_PER_CLASS, progress=lambda done, total: calls.append((done, total)))

    clips = sum(1 for path in (tmp_path / "audio").rglob("*") if path.is_file())
    assert calls == [(done, clips) for done in range(1, clips + 1)]
    first, other = digests(corpus), digests(tmp_path)
    assert first.keys() == other.keys()
    changed = {path for path in first if first[path] != other[path]}
    assert {path for path in first if path.startswith("audio/")} <= changed
    assert not any(path.startswith("tasks/") for path in changed)


def test_task_specs_read_back(corpus: Path) -> None:
    specs, problems = load_task_specs(["tasks/*.yaml"], str(corpus))

    assert problems == []
    assert {spec.name for spec in specs} == set(TASKS)
    for spec in specs:
        task = TASKS[spec.name]
        dataset = read_dataset(spec)
        assert dataset.slots == task.slots
        assert len(dataset.examples) == 3 * len(task.classes["train"])
        assert {example.split for example in dataset.examples} == set(SPLITS)
        assert all(example.speaker and example.clip for example in dataset.examples)
