"""What a plan passes can be published and read again: asked of the same manifest that publishing writes."""

from __future__ import annotations

import re
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from infra.errors import Problem
from orchestrator.job import Job
from orchestrator.plan_checks import task_sections, unpublishable
from orchestrator.tuning.lanes import lane_spec
from task_specs.dataset import Dataset
from task_specs.example import SPLITS, Example
from task_specs.label import visible_label
from task_specs.schema import TaskSpec
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import BackboneDescription, read_description, write_backbone
from workers.bundle.format import LIMITS, Bundle, pack, parse_manifest, parse_tensors
from workers.bundle.manifest import CARD_FILE, MANIFEST_FILE, PROMPT_FILE, Data, Spread
from workers.evaluation.metrics import Figures, Predictions
from workers.prompting.prompt import prompt_shape
from workers.tuning.results.task_manifest import Tuned, sweep_section, task_manifest


@cache
def backbone() -> BackboneDescription:
    with TemporaryDirectory() as directory:
        write_backbone(tiny_backbone(), directory)
        return read_description(directory)


def job(**fields: Any) -> Job:
    places = {name: f"/data/{name}" for name in ("backbone", "bundles", "storage", "units")}
    return Job.model_validate(
        {"name": "job", "tasks": "/data/*.yaml", "tracking": "http://localhost:5000", **places, **fields}
    )


def task(slots: dict[str, list[str]], **fields: Any) -> tuple[TaskSpec, Dataset]:
    """A task of these labels, as plan reads it.

    Raises:
        ValidationError: the spec is refused.
    """
    spec = TaskSpec.model_validate({"name": "task", "data": {"path": "/x.csv", "label": list(slots)}, **fields})
    example = Example("train", tuple(labels[0] for labels in slots.values()), units=(1,))
    labels = tuple(tuple(sorted(labels)) for labels in slots.values())
    return spec, Dataset((example,), tuple(slots), labels)


def passes(slots: dict[str, list[str]], **fields: Any) -> bool:
    """Whether a plan lets a task of these labels through."""
    try:
        for label in (label for labels in slots.values() for label in labels):
            visible_label(label)
        spec, dataset = task(slots, **fields)
    except ValueError:
        return False
    return unpublishable(spec, dataset, job(), backbone()) == []


def published_and_read(slots: dict[str, list[str]], seed: int, **fields: Any) -> None:
    """What publishing does, with figures and tensors from a random generator in place of tuned ones."""
    spec, dataset = task(slots, **fields)
    rng = np.random.default_rng(seed)
    data = Data(digest="c" * 64, examples=dict.fromkeys(SPLITS, 2), shots=spec.shots)
    sections = task_sections(spec, job(), backbone(), data)
    for point in spec.points[:2]:
        shape = prompt_shape(backbone().unit_lm, point.recipe, [len(labels) for labels in dataset.labels])
        lane = lane_spec(spec, dataset, point, seed=spec.seeds[0])
        scores = [rng.standard_normal((9, len(labels))).astype(np.float32) for labels in dataset.labels]
        answers = np.stack([rng.permutation(np.arange(9) % len(labels)) for labels in dataset.labels], axis=1)
        temperatures = rng.uniform(0.05, 20, len(slots)).tolist()
        found = Figures(Predictions(scores, answers), positive=lane.positive_class, temperatures=temperatures)()
        spreads = {name: Spread(value=value, mean=value, std=0.0, seeds=1) for name, value in found.items()}
        units = None
        if shape.one_unit_a_class:
            drawn = [rng.choice(shape.vocabulary, len(labels), replace=False) for labels in dataset.labels]
            units = tuple(tuple(row.tolist()) for row in drawn)
        tuned = Tuned(
            shape=shape,
            results={"valid": spreads, "test": spreads},
            temperatures=temperatures,
            verbalizer_units=units,
            sweep=sweep_section(point.name, 1, {each.name: 0.5 for each in spec.points}),
            run_id="0" * 32,
        )
        manifest = task_manifest(sections, lane, tuned)
        tensors = {name: rng.standard_normal(of).astype(np.float32) for name, of in shape.tensors.items()}
        packed = pack(Bundle(manifest, tensors))
        read = parse_manifest(packed.files[MANIFEST_FILE], file="bundle.json")
        assert read == packed.manifest
        assert read.model_copy(update={"files": {}}) == manifest
        assert [(slot.name, list(slot.labels)) for slot in read.slots] == [
            (name, sorted(labels)) for name, labels in slots.items()
        ]
        figures = set(read.results["test"])
        assert len(slots) == 1 or {f"accuracy_slot{number + 1}" for number in range(len(slots))} <= figures
        assert parse_tensors(packed.files[PROMPT_FILE], read, file="p").keys() == tensors.keys()


def mostly(sound: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The other one a time in ten, so that with many fields a good part of all draws is sound."""
    return st.integers(0, 9).flatmap(lambda drawn: sound if drawn else other)


TEXTS = mostly(
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs")), min_size=1, max_size=8),
    st.one_of(
        st.text(max_size=8),
        st.text(st.characters(categories=("So", "Mn", "Cf", "Lo")), min_size=1, max_size=6),
        st.sampled_from(
            [
                "How would you describe the overall mood of the speaker here?",
                "Mood?",
                "mood",
                "accuracy",
                "mean",
                "..",
                "a/b#c%d",
                "\u202eolleh",
                "e\u0301",
                "\u00e9",
                "x" * 200,
                "x" * 201,
                "a\nb",
                "\ud800",
                "|`*_<b>",
            ]
        ),
    ),
)
SLOTS = st.dictionaries(TEXTS, st.lists(TEXTS, min_size=2, max_size=4, unique=True), min_size=1, max_size=3)


@settings(max_examples=120, deadline=None)
@given(
    slots=SLOTS,
    family=mostly(st.just("SCR"), TEXTS),
    language=mostly(st.just("lt"), TEXTS),
    seed=st.integers(0, 2**32 - 1),
    shots=mostly(st.none() | st.integers(1, 50), st.integers(1, 2**63)),
    recipe=st.fixed_dictionaries(
        {},
        optional={
            "verbalizer": st.sampled_from(["linear", "frequency", "random"]),
            "clip_norm": mostly(st.floats(0.1, 1e30), st.floats()),
            "learning_rate": mostly(st.floats(1e-300, 1e38), st.floats()),
            "verbalizer_lr_scale": mostly(st.floats(0.1, 10), st.floats(min_value=0)),
            "steps": mostly(st.integers(1, 10**7), st.integers(1, 10**19)),
            "warmup_steps": mostly(st.integers(0, 10**7), st.integers(0, 10**400)),
            "validation_examples": mostly(st.integers(1, 10**7), st.integers(1, 10**30)),
        },
    ),
    sweep=st.none() | st.just({"learning_rate": [0.01, 0.02], "prompt_length": [1, 2]}),
)
def test_whatever_a_plan_passes_is_published_and_read_again(
    slots: dict[str, list[str]], family: str, language: str, seed: int, shots: int | None, recipe: Any, sweep: Any
) -> None:
    fields = {"family": family, "language": language, "seeds": [seed], "shots": shots, "recipe": recipe, "sweep": sweep}
    if passes(slots, **fields):
        published_and_read(slots, seed, **fields)


def words(count: int, length: int = 6) -> list[str]:
    return [f"{number:0{length}d}" for number in range(count)]


QUESTION = "On a scale of one to five, how would you describe the overall mood of the {} of this telephone call?"
HELD: dict[str, dict[str, list[str]]] = {
    "whole questions": {QUESTION.format(who): ["1", "2"] for who in ("caller", "agent")},
    "equal but for punctuation": {"Mood?": ["a", "b"], "Mood!": ["a", "b"]},
    "equal but for case": {"Mood": ["a", "b"], "mood": ["a", "b"]},
    "only emoji": {"\U0001f600": ["a", "b"], "\U0001f62d": ["a", "b"]},
    "no Latin letter": {"настроение": ["да", "нет"], "心情": ["好", "坏"]},
    "paths": {"../..": ["a", "b"], "/etc/passwd": ["a", "b"], "a%2Fb#c": ["a", "b"]},
    "names of figures": {"accuracy": ["a", "b"], "mean": ["a", "b"], "slot2": ["a", "b"], "slot1": ["a", "b"]},
    "two normal forms": {"e\u0301": ["a", "b"], "\u00e9": ["a", "b"]},
    "right to left": {"\u0645\u0632\u0627\u062c": ["a", "b"], "\u202eabc": ["a", "b"]},
    "as many as a manifest has columns": {f"slot {number} " + "?" * 190: ["a", "b"] for number in range(32)},
    "labels of Markdown": {"label": ["| a | b |", "```", "[x](http://y)", "<!--", "---"]},
    "labels as long as can be": {"label": ["\U0001f600" * 199 + str(number) for number in range(9)]},
}


@pytest.mark.parametrize("slots", HELD.values(), ids=HELD.keys())
def test_labels_and_slots_of_any_script_are_held(slots: dict[str, list[str]]) -> None:
    assert passes(slots)
    published_and_read(slots, seed=1)


def said(slots: dict[str, list[str]], **fields: Any) -> list[Problem]:
    places = {name: fields.pop(name) for name in ("backbone", "bundles") if name in fields}
    return unpublishable(*task(slots, **fields), job(**places), backbone())


TWO = {"label": ["no", "yes"]}


def test_what_is_too_large_for_a_bundle_is_said() -> None:
    [problem] = said({"label": ["," * 40 + word for word in words(10_001)]})
    assert "it holds more than 400000 values" in problem.message
    [problem] = said({"label": [word + "\U0001f600" * 190 for word in words(12_000)]})
    assert re.search(r"bundle\.json has [0-9,]+ bytes, more than the 8,388,608 that readers accept", problem.message)
    assert problem.remedy == "give fewer or shorter labels"


def test_a_prompt_that_is_too_large_for_a_bundle_is_said() -> None:
    wide = backbone().model_copy(update={"unit_lm": backbone().unit_lm.model_copy(update={"layers": 128, "dim": 8192})})
    recipe = {"prompt_length": 512}
    [problem] = unpublishable(*task(TWO, recipe=recipe), job(), wide)
    assert "prompt.safetensors has 4,29" in problem.message
    assert problem.remedy.endswith("or a shorter prompt")
    sweep = {"prompt_length": [1, 512], "verbalizer": ["linear", "random"]}
    assert len(unpublishable(*task(TWO, sweep=sweep), job(), wide)) == 2


@pytest.mark.parametrize(
    ("places", "field", "message"),
    [
        (
            {"backbone": "/data/" + "b/" * 300},
            "backbone",
            "cannot hold it: backbone_uri has 605 characters, but a bundle holds at most 500",
        ),
        ({"backbone": "/data/a\nb"}, "backbone", "cannot hold it: backbone_uri holds a line break"),
        ({"bundles": "s3://bucket/" + "k" * 980}, "bundles", "would have a path of 1046 bytes, but the limit is 1024"),
        ({"bundles": "s3://bucket/" + "ž" * 490}, "bundles", "would have a path of 1046 bytes, but the limit is 1024"),
        ({"bundles": "/data/" + "d/" * 2030}, "bundles", "but the limit is 4095"),
    ],
)
def test_places_that_a_bundle_cannot_name_or_lie_in_are_said(places: dict[str, str], field: str, message: str) -> None:
    [problem] = said(TWO, **places)
    assert problem.field == field
    assert message in problem.message


@pytest.mark.parametrize(
    "fields",
    [
        {"family": "S\nCR"},
        {"language": "lt\x1b[2J"},
        {"shots": 2**53 + 1},
        {"recipe": {"clip_norm": float("inf")}},
        {"recipe": {"separator_lr_scale": float("inf")}},
        {"recipe": {"verbalizer_lr_scale": float("nan")}},
        {"recipe": {"steps": 10**18}},
        {"recipe": {"warmup_steps": 10**400}},
    ],
)
def test_settings_that_a_bundle_cannot_say_are_refused_in_the_spec(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        task(TWO, **fields)


def test_a_card_has_room_for_every_label_that_a_bundle_holds() -> None:
    slots = {f"{slot} " + "\U0001f600" * 196: [f"{n} " + "\U0001f600" * 196 for n in range(100)] for slot in range(32)}
    assert passes(slots)
    spec, dataset = task(slots)
    data = Data(digest="c" * 64, examples=dict.fromkeys(SPLITS, 2))
    sections = task_sections(spec, job(), backbone(), data)
    [point] = spec.points
    shape = prompt_shape(backbone().unit_lm, point.recipe, [100] * 32)
    manifest = task_manifest(
        sections, lane := lane_spec(spec, dataset, point, seed=0), Tuned.longest(lane, shape, [""])
    )
    tensors = {name: np.zeros(of, np.float32) for name, of in shape.tensors.items()}
    packed = pack(Bundle(manifest, tensors))
    assert 500_000 < len(packed.files[CARD_FILE]) <= LIMITS[CARD_FILE]
