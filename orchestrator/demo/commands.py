"""Speech commands: ten words in each of three languages."""

from __future__ import annotations

from typing import Literal

from orchestrator.demo.demo_task import DemoTask, Utterance
from task_specs.example import SPLITS

__all__ = ["command_tasks"]

ENGLISH = ("yes", "no", "up", "down", "left", "right", "start", "stop", "open", "close")
GERMAN = ("ja", "nein", "hoch", "runter", "links", "rechts", "an", "aus", "halt", "weiter")
LITHUANIAN = (
    "taip", "ne", "aukštyn", "žemyn", "kairėn", "dešinėn", "įjungti", "išjungti", "stabdyti", "pirmyn",
)  # fmt: skip


def command_tasks() -> tuple[DemoTask, ...]:
    """Return the three command tasks: English, German and Lithuanian."""
    return (
        _task("english-commands", "en", "English", ENGLISH, "wav"),
        _task("german-commands", "de", "German", GERMAN, "flac"),
        _task("lithuanian-commands", "lt", "Lithuanian", LITHUANIAN, "wav"),
    )


def _task(
    name: str, language: str, adjective: str, words: tuple[str, ...], audio_format: Literal["flac", "wav"]
) -> DemoTask:
    classes = tuple((Utterance(word, language, (word,)),) for word in words)
    return DemoTask(
        name=name,
        family="SCR",
        language=language,
        description=f"Which of {len(words)} {adjective} command words is said.",
        slots=("label",),
        audio_format=audio_format,
        classes=dict.fromkeys(SPLITS, classes),
        training_clips=15,
    )
