"""The tasks of the demo corpus."""

from __future__ import annotations

from orchestrator.demo.commands import command_tasks
from orchestrator.demo.demo_task import DemoTask, Style, Utterance
from orchestrator.demo.intents import intent_task
from orchestrator.demo.sentences import LANGUAGES, sentences
from orchestrator.demo.voices import Gender
from task_specs.example import SPLITS

__all__ = ["demo_tasks"]

STYLES = {
    "calm": Style(rate=0.78, pitch=-18, pitch_range=5, level=-10),
    "neutral": Style(),
    "excited": Style(rate=1.5, pitch=30, pitch_range=99, level=10),
}
# Keeps the longest sentences below three seconds.
BRISK = Style(rate=1.1)
GENDERS: tuple[Gender, ...] = ("female", "male")


def demo_tasks() -> tuple[DemoTask, ...]:
    """Return the seven tasks: commands in three languages, intent, language, speaker gender, speaking style."""
    return (*command_tasks(), intent_task(), _language_task(), _gender_task(), _style_task())


def _language_task() -> DemoTask:
    return DemoTask(
        name="language-identification",
        family="LID",
        language="mul",
        description="Which of five languages is spoken, by sentences that are in one split only.",
        slots=("language",),
        audio_format="flac",
        classes={
            split: tuple(
                tuple(
                    Utterance(text, language, (language,), style=BRISK) for text in sentences(language, split, parts=3)
                )
                for language in LANGUAGES
            )
            for split in SPLITS
        },
        training_clips=36,
    )


def _gender_task() -> DemoTask:
    return DemoTask(
        name="speaker-gender",
        family="GID",
        language="es",
        description="Whether a Spanish sentence is said by a female or a male voice.",
        slots=("gender",),
        audio_format="wav",
        classes={
            split: tuple(
                tuple(Utterance(text, "es", (gender,), gender=gender) for text in sentences("es", split, parts=2))
                for gender in GENDERS
            )
            for split in SPLITS
        },
        training_clips=50,
    )


def _style_task() -> DemoTask:
    # The same few sentences in every split, as in corpora of acted emotions, so that the words carry no information.
    texts = sentences("fr", "valid", parts=2)
    classes = tuple(
        tuple(Utterance(text, "fr", (name,), style=style) for text in texts) for name, style in STYLES.items()
    )
    return DemoTask(
        name="speaking-style",
        family="ER",
        language="fr",
        description="Whether a French sentence is said calmly, neutrally or excitedly.",
        slots=("style",),
        audio_format="wav",
        classes=dict.fromkeys(SPLITS, classes),
        training_clips=60,
    )
