"""Errors are data: one sentence for people, its parts for code, and both the same in every process."""

from __future__ import annotations

import pickle

import pytest

from infra import errors
from infra.errors import DatasetError, InvalidInputs, MissingExtra, Problem, SpeechPromptError, StorageError
from task_specs.audio_container.unusable import UnusableAudio
from task_specs.readers.audio_files import NotFound
from workers.speech.audio import RejectedAudio

PROBLEM = Problem("job.yaml:3", "tasks", "names no file", "correct the path")
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, SpeechPromptError) and kind not in (InvalidInputs, MissingExtra)
]
EACH: list[SpeechPromptError] = [
    *(kind("a.wav is damaged; remove it") for kind in KINDS),
    *(kind("is damaged", where="a.wav", remedy="remove it") for kind in KINDS),
    MissingExtra("mlflow", "tracking"),
    InvalidInputs([PROBLEM, PROBLEM]),
    UnusableAudio("empty", "it holds no samples; record it again"),
    RejectedAudio("a.wav", "fatal", "there was too little memory; give workers more"),
    NotFound("a.wav is not there", "correct 'path'"),
]


@pytest.mark.parametrize("error", EACH, ids=lambda error: f"{type(error).__name__} {error.where}".strip())
def test_an_error_is_the_same_in_another_process(error: SpeechPromptError) -> None:
    error.add_note("while reading")
    found = pickle.loads(pickle.dumps(error))  # noqa: S301  its own bytes
    assert type(found) is type(error)
    assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error))
    assert found.__notes__ == ["while reading"]


@pytest.mark.parametrize(
    ("error", "sentence", "reason"),
    [
        (StorageError("is a link", where="/a", remedy="remove it"), "/a is a link; remove it", "/a is a link"),
        (
            DatasetError("is empty", where="a.csv:3", field="label", remedy="write one"),
            "a.csv:3: label: is empty; write one",
            "a.csv:3: label: is empty",
        ),
        (DatasetError("is empty", field="label", remedy="write one"), "label: is empty; write one", "label: is empty"),
        (StorageError("/a; b is a link; remove it"), "/a; b is a link; remove it", "/a; b is a link"),
        (StorageError("/a is a link"), "/a is a link", "/a is a link"),
        (StorageError("odd; "), "odd; ", "odd"),
    ],
)
def test_the_sentence_is_made_of_its_parts(error: SpeechPromptError, sentence: str, reason: str) -> None:
    assert str(error) == sentence
    assert error.reason == reason


def test_a_remedy_may_hold_a_semicolon_of_its_own() -> None:
    error = StorageError("is a link", where="/a", remedy="remove it; or name another place")
    assert (error.message, error.remedy) == ("is a link", "remove it; or name another place")


def test_a_problem_takes_the_parts_of_an_error() -> None:
    error = StorageError("bundles cannot be written", remedy="name another place")
    assert Problem.of("job.yaml", "bundles", error) == Problem(
        "job.yaml", "bundles", "cannot be written", "name another place"
    )
    assert Problem.of("job.yaml", "", StorageError("no")).remedy == "correct it"
