"""Google Speech Commands, version 1: ten English words, other words and silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np

from task_specs.example import Split
from task_specs.readers.audio_files import DIRECTORY
from task_specs.readers.corpus import Counts, DividedCorpus, Utterance
from task_specs.readers.folder import Folder
from task_specs.readers.splitting import by_speaker_hash

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN, SILENCE, NOISE = "_unknown_", "_silence_", "_background_noise_"
TRAIN, TEST = "speech_commands_v0.01", "speech_commands_test_set_v0.01"


class GoogleSpeechCommandsV1(DividedCorpus):
    """The two official archives, each unpacked into a directory of its name in the root.

    Test is the second archive. Train and valid are the files of the first archive that its speaker hash assigns to
    them, and one-second pieces of its six noise files, the last tenth of each for valid. ``paper`` draws as many
    examples from the same files with replacement, all classes equally likely, with silence cut at random positions.
    """

    origin: ClassVar[str] = f"http://download.tensorflow.org/data/{TRAIN}.tar.gz and /data/{TEST}.tar.gz"
    licence: ClassVar[str] = "CC BY 4.0"
    classes: ClassVar[tuple[int, ...]] = (12,)
    parts: ClassVar[tuple[str, ...]] = (TRAIN, TEST)
    bare: ClassVar[tuple[str, ...]] = (TRAIN, TEST)
    test_counts: ClassVar[dict[str, int]] = {
        "yes": 256, "no": 252, "up": 272, "down": 253, "left": 267, "right": 259, "on": 246, "off": 262, "stop": 249,
        "go": 251, UNKNOWN: 257, SILENCE: 257,
    }  # fmt: skip
    published: ClassVar[dict[str, Counts]] = {
        "official": {"test": test_counts},
        "paper": {"train": 51_094, "valid": 6_804, "test": test_counts},
    }

    split: Literal["official", "paper"] = "official"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        train, test = (folder.above(*(f"{name}/{word}" for word in WORDS)) for name in (TRAIN, TEST))
        train, test = train.rstrip("/"), test.rstrip("/")
        if folder.tree.spelled(train, DIRECTORY) is None and folder.tree.spelled(NOISE, DIRECTORY) is not None:
            remedy = f"unpack each into a directory of its own, {TRAIN} and {TEST}"
            folder.problem("", f"is what {TRAIN}.tar.gz holds, or both archives mixed", remedy)
            return
        for label in folder.directories(test):
            for name in folder.files(f"{test}/{label}"):
                yield Utterance(f"{test}/{label}/{name}", (label,), "test")
        files: dict[Split, list[Utterance]] = {"train": [], "valid": []}
        for word in folder.directories(train):
            for name in folder.files(f"{train}/{word}") if word != NOISE else ():
                label, split = word if word in WORDS else UNKNOWN, by_speaker_hash(name)
                if split != "test":
                    speaker = name.partition("_nohash_")[0]
                    files[split].append(Utterance(f"{train}/{word}/{name}", (label,), split, speaker))
        noises = [f"{train}/{NOISE}/{name}" for name in folder.files(f"{train}/{NOISE}")]
        lengths = {noise: seconds for noise in noises if (seconds := folder.seconds(noise)) is not None}
        for split, found in files.items():
            if self.split == "official":
                yield from found
                yield from _pieces(lengths, split)
            elif found and lengths:
                yield from _drawn(found, lengths, split, np.random.default_rng([self.seed, split == "train"]))


def _pieces(lengths: dict[str, float], split: Split) -> Iterator[Utterance]:
    for noise, length in lengths.items():
        last = int(length * 0.9)
        for start in range(last) if split == "train" else range(last, int(length)):
            yield Utterance(noise, (SILENCE,), split, start=start, end=start + 1)


def _drawn(
    found: list[Utterance], lengths: dict[str, float], split: Split, draw: np.random.Generator
) -> Iterator[Utterance]:
    of_class: dict[str, list[Utterance]] = {SILENCE: []}
    for utterance in found:
        of_class.setdefault(utterance.labels[0], []).append(utterance)
    labels, noises = sorted(of_class), sorted(lengths)
    for _ in range(len(found) + len(lengths)):
        label = labels[draw.integers(len(labels))]
        if label != SILENCE:
            yield of_class[label][draw.integers(len(of_class[label]))]
        else:
            noise = noises[draw.integers(len(noises))]
            start = round(draw.uniform(0, lengths[noise] - 1), 3)
            yield Utterance(noise, (SILENCE,), split, start=start, end=start + 1)
