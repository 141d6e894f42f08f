"""The demo corpus: synthesized clips, manifests and task specs, as a user would lay out their own."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import yaml

from orchestrator.demo.demo_task import DemoTask, Utterance
from orchestrator.demo.recording import record
from orchestrator.demo.tasks import demo_tasks
from orchestrator.demo.voices import Voice, draw_voices
from task_specs.example import SPLITS, Split

__all__ = ["write_corpus"]

RECIPE = {"steps": 400, "evaluate_every": 40}
"""Enough steps for a few hundred recordings per task, and quick."""


@dataclass(frozen=True)
class PlannedClip:
    """A row of a manifest, before its clip is synthesized.

    Attributes:
        path: path of the clip, relative to the corpus's ``audio`` directory.
        split: split of the clip.
        utterance: utterance to synthesize.
        voice: voice that speaks it.
        seed: seed of all random draws for the clip.
    """

    path: str
    split: Split
    utterance: Utterance
    voice: Voice
    seed: tuple[int, ...]


def write_corpus(
    directory: Path,
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    scale: float = 1.0,
) -> tuple[Path, ...]:
    """Write ``audio/<task>/``, ``manifests/<task>.csv`` and ``tasks/<task>.yaml`` below ``directory``.

    The same seed gives the same bytes. Train, valid and test have different speakers, and every split of every task has
    every label.

    Args:
        directory: directory, created if missing; files of an earlier corpus are overwritten.
        seed: seed of voices, order and recording conditions.
        progress: function called after each clip with the numbers of clips done and of all clips.
        scale: factor on the number of clips per class, which is at least one.

    Returns:
        Paths of the task specs, in the order of the tasks.

    Raises:
        MissingExtra: ``espeakng-loader`` is not installed.
        OSError: the directory cannot be written.
    """
    tasks = demo_tasks()
    voices = draw_voices(seed=seed)
    plans = [tuple(_plan(task, voices, seed=(seed, 1 + number), scale=scale)) for number, task in enumerate(tasks)]
    total = sum(len(clips) for clips in plans)
    done = 0
    specs = []
    for task, clips in zip(tasks, plans, strict=True):
        (directory / "audio" / task.name).mkdir(parents=True, exist_ok=True)
        for clip in clips:
            wave, sample_rate = record(clip.utterance, clip.voice, rng=np.random.default_rng(clip.seed))
            soundfile.write(directory / "audio" / clip.path, wave, sample_rate, subtype="PCM_16")
            done += 1
            if progress is not None:
                progress(done, total)
        _write_manifest(directory / "manifests" / f"{task.name}.csv", task, clips)
        specs.append(_write_spec(directory / "tasks" / f"{task.name}.yaml", task))
    return tuple(specs)


def _plan(
    task: DemoTask, voices: dict[Split, tuple[Voice, ...]], *, seed: tuple[int, ...], scale: float
) -> Iterator[PlannedClip]:
    """Distribute utterances and voices over the clips of each class as evenly as possible."""
    for split_number, split in enumerate(SPLITS):
        count = max(1, round(task.clips_per_class(split) * scale))
        number = 0
        for class_number, utterances in enumerate(task.classes[split]):
            rng = np.random.default_rng((*seed, split_number, class_number))
            gender = utterances[0].gender
            speakers = [voice for voice in voices[split] if gender in (None, voice.gender)]
            says = rng.permutation(np.resize(np.arange(len(utterances)), count))
            speaks = np.resize(rng.permutation(len(speakers)), count)
            for said, spoken in zip(says, speaks, strict=True):
                yield PlannedClip(
                    path=f"{task.name}/{split}-{number:04d}.{task.audio_format}",
                    split=split,
                    utterance=utterances[said],
                    voice=speakers[spoken],
                    seed=(*seed, split_number, class_number, number),
                )
                number += 1


def _write_manifest(path: Path, task: DemoTask, clips: tuple[PlannedClip, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("path", *task.slots, "split", "speaker"))
        rows.writerows((clip.path, *clip.utterance.labels, clip.split, clip.voice.variant) for clip in clips)


def _write_spec(path: Path, task: DemoTask) -> Path:
    spec = {
        "name": task.name,
        "family": task.family,
        "language": task.language,
        "description": task.description,
        "data": {
            "reader": "manifest",
            "path": f"../manifests/{task.name}.csv",
            "root": "../audio",
            "label": task.slots[0] if len(task.slots) == 1 else list(task.slots),
        },
        "metric": "accuracy",
        "recipe": {"name": "default", **RECIPE},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(spec, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")
    return path
