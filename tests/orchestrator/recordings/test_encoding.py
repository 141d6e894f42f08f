"""From datasets and tokenized clips to encoded examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from infra.errors import DatasetError
from orchestrator.recordings.examples import EncodedTask, encode
from orchestrator.recordings.tokenizing import ClipRequest
from task_specs.dataset import Dataset, read_dataset
from task_specs.example import SPLITS, Clip
from task_specs.schema import TaskSpec
from tests.task_specs.files import delimited, recordings, task
from workers.prompting.examples import TaskExamples
from workers.speech.units import Units

SLOTS = (
    ("train", "on", "lamp", "1 2"),
    ("train", "on", "lamp", "3"),
    ("train", "off", "heat", "4 5 6"),
    ("valid", "off", "lamp", "7"),
    ("test", "on", "lamp", "8 9"),
    ("test", "on", "heat", "1"),
    ("test", "off", "heat", "2"),
    ("test", "on", "lamp", "3"),
)


def slot_task(directory: Path) -> tuple[TaskSpec, Dataset]:
    rows = [
        {"split": split, "action": action, "object": thing, "units": units} for split, action, thing, units in SLOTS
    ]
    spec = task(directory, delimited(rows), label=["action", "object"])
    return spec, read_dataset(spec)


def audio_task(directory: Path) -> tuple[TaskSpec, Dataset]:
    """Two recordings for each of two labels and each split, named ``<split>-<label><number>.wav``."""
    names = [f"{split}-{label}{number}.wav" for split in SPLITS for label in ("no", "yes") for number in range(2)]
    recordings(directory, *names)
    rows = [{"path": name, "label": name[:-5].split("-")[1], "split": name.split("-")[0]} for name in names]
    spec = task(directory, delimited(rows))
    return spec, read_dataset(spec)


def units(*numbers: int) -> Units:
    array: NDArray[np.int16] = np.array(numbers, dtype=np.int16)
    return Units(array, np.ones(len(array), dtype=np.int32))


def tokenized(spec: TaskSpec, dataset: Dataset) -> dict[ClipRequest, Units]:
    """Units for every clip, the first of which tells them apart."""
    clips = [example.clip for example in dataset.examples if example.clip is not None]
    return {ClipRequest(clip, spec.audio): units(number, 0) for number, clip in enumerate(clips)}


def test_units_and_class_numbers_are_those_of_the_rows(tmp_path: Path) -> None:
    encoded = encode(*slot_task(tmp_path), {})
    splits = encoded.examples.splits
    assert {split: [part.units[row].tolist() for row in range(len(part))] for split, part in splits.items()} == {
        "train": [[1, 2], [3], [4, 5, 6]],
        "valid": [[7]],
        "test": [[8, 9], [1], [2], [3]],
    }
    # Classes are sorted: heat, lamp; off, on.
    assert splits["train"].labels.tolist() == [[1, 1], [1, 1], [0, 0]]
    assert splits["test"].labels.tolist() == [[1, 1], [1, 0], [0, 0], [1, 1]]
    assert splits["train"].labels.dtype == np.int64
    assert encoded.quarantined == 0


def test_the_majority_is_the_most_frequent_combination_of_the_training_split(tmp_path: Path) -> None:
    assert encode(*slot_task(tmp_path), {}).majority == 0.5


def test_clips_without_units_are_left_out_and_counted(tmp_path: Path) -> None:
    spec, dataset = audio_task(tmp_path)
    found = tokenized(spec, dataset)
    del found[ClipRequest(Clip(f"{tmp_path}/train-no0.wav"), spec.audio)]
    found[ClipRequest(Clip(f"{tmp_path}/test-yes1.wav"), spec.audio)] = units()
    encoded = encode(spec, dataset, found)
    assert encoded.quarantined == 2
    assert {split: len(part) for split, part in encoded.examples.splits.items()} == {"train": 3, "valid": 4, "test": 3}
    assert [encoded.examples.splits["train"].units[row][0] for row in range(3)] == [1, 2, 3]
    assert encoded.examples.splits["train"].labels.tolist() == [[0], [1], [1]]


def test_units_under_another_audio_policy_are_not_taken(tmp_path: Path) -> None:
    spec, dataset = audio_task(tmp_path)
    stricter = spec.model_copy(update={"audio": spec.audio.model_copy(update={"max_seconds": 1.0})})
    with pytest.raises(DatasetError, match="none of the 4 clips of split train"):
        encode(stricter, dataset, tokenized(spec, dataset))


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_without_usable_clips_is_an_error(tmp_path: Path, split: str) -> None:
    spec, dataset = audio_task(tmp_path)
    found = {
        request: kept for request, kept in tokenized(spec, dataset).items() if f"/{split}-" not in request.clip.uri
    }
    with pytest.raises(DatasetError, match=f"task: none of the 4 clips of split {split}.*audio policy"):
        encode(spec, dataset, found)


def test_the_digest_tells_data_apart(tmp_path: Path) -> None:
    spec, dataset = audio_task(tmp_path)
    found = tokenized(spec, dataset)

    def digest(encoded: EncodedTask) -> str:
        return encoded.examples.digest()

    assert digest(encode(spec, dataset, found)) == digest(encode(spec, dataset, dict(reversed(found.items()))))
    changed = found | {ClipRequest(Clip(f"{tmp_path}/valid-no0.wav"), spec.audio): units(99)}
    assert digest(encode(spec, dataset, found)) != digest(encode(spec, dataset, changed))


def test_speakers_of_test_go_along_where_they_are_drawn(tmp_path: Path) -> None:
    rows = [
        {"split": split, "label": label, "units": "1 2", "speaker": speaker}
        for split in SPLITS
        for label, speaker in (("no", "bob"), ("yes", "ann"), ("no", "ann"), ("yes", "bob"))
    ]
    spec = task(tmp_path, delimited(rows))
    plain = encode(spec, read_dataset(spec), {}).examples
    assert all(part.speakers is None for part in plain.splits.values())
    drawn = encode(spec.model_copy(update={"bootstrap": "speakers"}), read_dataset(spec), {}).examples
    speakers = drawn.splits["test"].speakers
    assert speakers is not None
    assert speakers.tolist() == [0, 1, 1, 0]
    assert drawn.splits["train"].speakers is None
    again = TaskExamples.from_bytes(drawn.to_bytes())
    stored = again.splits["test"].speakers
    assert stored is not None
    assert np.array_equal(stored, speakers)
    assert again.digest() == drawn.digest() != plain.digest()


def test_what_cannot_be_detected_is_said(tmp_path: Path) -> None:
    spec, dataset = audio_task(tmp_path)
    spec = spec.model_copy(update={"positive": "yes", "metric": "eer"})
    found = {
        request: units
        for request, units in tokenized(spec, dataset).items()
        if not request.clip.uri.endswith(("valid-yes0.wav", "valid-yes1.wav"))
    }
    with pytest.raises(DatasetError, match=r"task: the clips of split valid .* all of one class, so 'yes' cannot be"):
        encode(spec, dataset, found)


def test_windows_are_rows_of_one_example(tmp_path: Path) -> None:
    spec, dataset = audio_task(tmp_path)
    found = tokenized(spec, dataset)
    cut = ClipRequest(Clip(f"{tmp_path}/test-yes0.wav"), spec.audio)
    found[cut] = Units.joined([units(5, 6), units(6), units(7, 8)])
    encoded = encode(spec, dataset, found, long=[cut, ClipRequest(Clip("/elsewhere.wav"), spec.audio)])
    test = encoded.examples.splits["test"]
    assert (test.examples, len(test), encoded.long) == (4, 6, 1)
    assert [test.units[row].tolist() for row in range(2, 5)] == [[5, 6], [6], [7, 8]]
    assert test.example_labels.tolist() == [[0], [0], [1], [1]]
    assert encoded.examples.splits["train"].windows is None
    assert encoded.majority == 0.5
