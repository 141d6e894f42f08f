"""Intents of a smart home in three slots, in the manner of Fluent Speech Commands."""

from __future__ import annotations

from orchestrator.demo.demo_task import DemoTask, Utterance
from task_specs.example import SPLITS

__all__ = ["intent_task"]

# (action, object, location) -> ways to say it, the same in every split, as in the original.
PHRASES: dict[tuple[str, str, str], tuple[str, ...]] = {
    ("activate", "lights", "kitchen"): ("turn on the lights in the kitchen", "we need light in the kitchen"),
    ("activate", "lights", "bedroom"): ("turn on the lights in the bedroom", "we need light in the bedroom"),
    ("activate", "lights", "none"): ("turn on the lights", "we need light here"),
    ("deactivate", "lights", "kitchen"): (
        "turn off the lights in the kitchen",
        "no more light in the kitchen",
    ),
    ("deactivate", "lights", "bedroom"): (
        "turn off the lights in the bedroom",
        "no more light in the bedroom",
    ),
    ("deactivate", "lights", "none"): ("turn off the lights", "no more light here"),
    ("activate", "music", "none"): ("play the music", "turn the music on"),
    ("deactivate", "music", "none"): ("stop the music", "turn the music off"),
    ("increase", "heat", "kitchen"): ("turn up the heat in the kitchen", "make the kitchen warmer"),
    ("increase", "heat", "bedroom"): ("turn up the heat in the bedroom", "make the bedroom warmer"),
    ("increase", "heat", "none"): ("turn up the heat", "make it warmer"),
    ("decrease", "heat", "kitchen"): ("turn down the heat in the kitchen", "make the kitchen cooler"),
    ("decrease", "heat", "bedroom"): ("turn down the heat in the bedroom", "make the bedroom cooler"),
    ("decrease", "heat", "none"): ("turn down the heat", "make it cooler"),
    ("increase", "volume", "none"): ("turn the volume up", "make it louder"),
    ("decrease", "volume", "none"): ("turn the volume down", "make it quieter"),
}


def intent_task() -> DemoTask:
    """Return the only task with several slots; every combination of ``PHRASES`` is in every split."""
    classes = tuple(tuple(Utterance(phrase, "en", labels) for phrase in phrases) for labels, phrases in PHRASES.items())
    return DemoTask(
        name="smart-home-intent",
        family="IC",
        language="en",
        description="What a smart home is asked to do: action, object and location are read in one pass.",
        slots=("action", "object", "location"),
        audio_format="wav",
        classes=dict.fromkeys(SPLITS, classes),
        training_clips=16,
    )
