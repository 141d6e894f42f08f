"""Sweeps: the points of a grid, their names, and what is said about faulty ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from task_specs.prompt_init import BundleInit
from task_specs.recipe import Recipe
from task_specs.schema import TaskSpec, load_task_spec
from task_specs.sweep import Halving, Sweep
from tests.fixtures.allocation import allocating_at_most
from tests.task_specs.files import spec

DATA = {"path": "x.csv"}


def points(**sweep: Any) -> list[str]:
    return [point.name for point in Sweep.model_validate(sweep).points(Recipe())]


def test_without_a_sweep_there_is_one_point_without_a_name(tmp_path: Path) -> None:
    [point] = spec(tmp_path, data=DATA, recipe={"learning_rate": 0.1}).points
    assert (point.name, point.recipe.learning_rate) == ("", 0.1)


def test_a_grid_is_every_combination() -> None:
    assert points(prompt_length=[5, 20], learning_rate=[1e-2, 5e-3]) == [
        "lr0.01 l5",
        "lr0.01 l20",
        "lr0.005 l5",
        "lr0.005 l20",
    ]
    assert points(verbalizer=["linear", "random"], dropout=[0, 0.1]) == [
        "linear d0",
        "linear d0.1",
        "random d0",
        "random d0.1",
    ]
    bundle = {"bundle": "/bundles/digits/0123456789abcdef", "version": "0123456789abcdef"}
    assert points(prompt_init=["normal", "units", bundle]) == ["normal", "units", "from-digits-012345"]
    assert points(prompt_init=[{"bundle": "/bundles/digits"}]) == ["from-digits"]


def test_points_change_what_they_name_and_nothing_else(tmp_path: Path) -> None:
    loaded = spec(tmp_path, data=DATA, recipe={"name": "paper"}, sweep={"prompt_length": [3], "dropout": [0.2]})
    [point] = loaded.points
    assert point.recipe == loaded.recipe.model_copy(update={"prompt_length": 3, "dropout": 0.2})


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=8, unique=True))
def test_different_rates_have_different_names(rates: list[float]) -> None:
    assert len(set(points(learning_rate=rates))) == len(rates)


def test_rates_that_differ_in_their_last_digit_are_two_points() -> None:
    assert points(learning_rate=[0.1, 0.1 + 2**-56 * 4]) == ["lr0.1", "lr0.10000000000000006"]


def test_bundles_are_found_beside_the_spec(tmp_path: Path) -> None:
    sweep = {"prompt_init": [{"bundle": "b"}]}
    loaded = spec(tmp_path, data=DATA, recipe={"prompt_init": {"bundle": "../b/a"}}, sweep=sweep)
    assert loaded.recipe.prompt_init == BundleInit(bundle=f"{tmp_path.parent}/b/a")
    assert loaded.points[0].recipe.prompt_init == BundleInit(bundle=f"{tmp_path}/b")


def test_a_recipe_is_known_by_the_version_of_its_bundle_wherever_it_lies() -> None:
    def identity(place: str, version: str) -> dict[str, Any]:
        return Recipe(prompt_init=BundleInit(bundle=place, version=version)).identity()

    assert identity("/a", "0" * 16) == identity("s3://b/c", "0" * 16) != identity("/a", "1" * 16)
    assert Recipe().identity() == Recipe().model_dump(mode="json")
    again = Recipe.model_validate_json(Recipe(prompt_init=BundleInit(bundle="/a", version="0" * 16)).model_dump_json())
    assert again.prompt_init == BundleInit(bundle="/a", version="0" * 16)


def test_rungs_are_evaluations() -> None:
    assert Halving(eta=2, rungs=2).steps(2000, 100) == [500, 1000]
    assert Halving(eta=3, rungs=2).steps(2000, 100) == [300, 700]
    assert Halving(eta=2, rungs=1).steps(7, 10) == [7]
    assert [Halving(eta=3).kept(points) for points in (1, 2, 3, 4, 9, 10)] == [1, 1, 1, 2, 3, 4]


@given(st.integers(2, 8), st.integers(1, 6), st.integers(1, 500), st.integers(1, 60))
def test_rungs_rise_within_the_steps(eta: int, rungs: int, steps: int, every: int) -> None:
    found = Halving(eta=eta, rungs=rungs).steps(steps, every)
    assert found == sorted(found)
    assert len(found) == rungs
    assert all(step % every == 0 or step == steps for step in found)
    assert 1 <= found[0] <= found[-1] <= steps


BASE = "name: t\ndata: {path: x.csv}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sweep: {}", "sweep: varies no setting; give one of learning_rate, prompt_length, prompt_init, read, verb"),
        ("sweep: {halving: {eta: 2}}", "sweep: varies no setting"),
        ("sweep: 3", "sweep: must be a mapping (lines of 'key: value'), not the number 3"),
        ("sweep: {learning_rate: 0.1}", "sweep.learning_rate: must be a list, not the number 0.1; write a list"),
        ("sweep: {learning_rate: []}", "sweep.learning_rate: has no value; give it one or more, or remove the line"),
        ("sweep: {learning_rate: [0.1, 1e-1]}", "sweep.learning_rate: holds a value twice; remove one of them"),
        ("sweep: {learning_rate: [0.1, -1]}", "sweep.learning_rate[1]: must be more than 0, not the number -1"),
        (
            "sweep: {read: [separator, pooled], verbalizer: [linear, random]}",
            "sweep: read: pooled gives features that verbalizer: random cannot read; use verbalizer: linear",
        ),
        ("recipe: {read: mean}\nsweep: {verbalizer: [linear, random]}", "sweep: read: mean gives features that verb"),
        ("recipe: paper\nsweep: {read: [mean]}", "sweep: read: mean is not defined for loss: paper; use loss"),
        ("sweep: {prompt_length: [-1]}", "sweep.prompt_length[0]: must be at least 0, not the number -1"),
        ("sweep: {dropout: [1]}", "sweep.dropout[0]: must be less than 1, not the number 1"),
        ("sweep: {verbalizer: [liner]}", "sweep.verbalizer[0]: must be 'linear', 'frequency' or 'random', not 'line"),
        ("sweep: {learning_rat: [1]}", "sweep.learning_rat: is not a known key; did you mean 'learning_rate'?"),
        ("sweep: {dropout: [0.1], halving: {eta: 1}}", "sweep.halving.eta: must be at least 2, not the number 1"),
        ("sweep: {dropout: [0.1], halving: {rung: 1}}", "sweep.halving.rung: is not a known key; did you mean"),
        ("sweep: {prompt_init: [unit]}", "sweep.prompt_init[0]: must be 'normal', 'units' or a bundle, not 'unit'"),
        ("sweep: {prompt_init: [3]}", "sweep.prompt_init[0]: must be 'normal', 'units' or a bundle, not the number 3"),
        ("sweep: {prompt_init: [{bundl: x}]}", "sweep.prompt_init[0].bundle: is required; add 'bundle:'"),
        ("recipe: {prompt_init: {bundle: gs://x}}", "recipe.prompt_init.bundle: 'gs://x' has an unknown scheme"),
        ("recipe: {prompt_init: {bundle: x, y: 3}}", "recipe.prompt_init.y: is not a known key"),
        ("seeds: 100\nsweep: {prompt_length: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}", "sweep: 11 points with 100 seeds"),
    ],
)  # fmt: skip
def test_each_fault_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    found = problems(tmp_path, text)
    assert any(fault.startswith(message) for fault in found), found
    assert all("; " in fault for fault in found)


def problems(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a task spec, without file and line."""
    (tmp_path / "task.yaml").write_text(BASE + text, encoding="utf-8")
    loaded, found = load_task_spec(str(tmp_path / "task.yaml"))
    assert loaded is None
    return [str(problem).split(": ", 1)[1] for problem in found]


def test_combinations_are_counted_without_being_made() -> None:
    sweep = {
        "learning_rate": [number * 1e-6 for number in range(1, 1001)],
        "dropout": [number / 1000 for number in range(1000)],
        "prompt_length": list(range(1, 513)),
    }
    with allocating_at_most(8 << 20), pytest.raises(ValidationError, match="512000000 points with 100 seeds are 51200"):
        TaskSpec.model_validate({"name": "t", "data": {"path": "/x.csv"}, "seeds": 100, "sweep": sweep})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sweep: {prompt_length: [true]}", "sweep.prompt_length[0]: must be a number, not the truth value true; write"),
        ("sweep: {learning_rate: [false]}", "sweep.learning_rate[0]: must be a number, not the truth value false"),
        ("sweep: {dropout: [true]}", "sweep.dropout[0]: must be a number, not the truth value true"),
        ("sweep: {learning_rate: [.inf]}", "sweep.learning_rate[0]: must be a finite number"),
        (
            "sweep: {learning_rate: [1e308]}",
            "sweep.learning_rate[0]: must be at most 3.40282e+38, not the number 1e+308",
        ),
        ("sweep: {dropout: [.nan]}", "sweep.dropout[0]: must be a finite number"),
        ("sweep: {prompt_length: [1000000000000000000]}", "sweep.prompt_length[0]: must be at most 512, not a number"),
        (
            "sweep: {dropout: [0.1], halving: {rungs: true}}",
            "sweep.halving.rungs: must be a number, not the truth value",
        ),
        (f"sweep: {{dropout: [{'0.5, ' * 1001}]}}", "sweep.dropout: has too many entries; give 1000 or fewer"),
        (f"seeds: [{', '.join(map(str, range(101)))}]", "seeds: has too many entries; give 100 or fewer"),
    ],
)
def test_a_sweep_has_ends(tmp_path: Path, text: str, message: str) -> None:
    found = problems(tmp_path, text)
    assert any(fault.startswith(message) for fault in found), found
