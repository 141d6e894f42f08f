"""Task specs: their fields, defaults, and what is said about faulty ones."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from infra import object_storage
from infra.errors import Problem
from task_specs import schema
from task_specs.audio_policy import AudioPolicy
from task_specs.readers.manifest import Manifest
from task_specs.recipe import Recipe
from task_specs.schema import TaskSpec, load_task_spec, load_task_specs
from tests.fixtures.s3_server import S3Server
from tests.task_specs.files import spec


def faults(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a task spec, as sentences without the directory."""
    file = tmp_path / "task.yaml"
    file.write_text(text, encoding="utf-8")
    loaded, problems = load_task_spec(str(file))
    assert (loaded is None) == bool(problems)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in problems]


def test_name_and_data_are_enough(tmp_path: Path) -> None:
    loaded = spec(tmp_path, data={"path": "data.csv"})
    assert list(loaded.seeds) == [0]
    assert loaded.slots == ("label",)
    assert loaded.recipe == Recipe.from_spec("default")
    assert loaded.audio == AudioPolicy()
    assert loaded.source == f"{tmp_path}/task.yaml"
    assert isinstance(loaded.data, Manifest)
    assert loaded.data.path == f"{tmp_path}/data.csv"


def test_every_field_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_ROOT", "/data")
    loaded = spec(
        tmp_path,
        family="SCR",
        language="no",
        data={"reader": "manifest", "path": "../x.csv", "root": "${DATA_ROOT}/audio", "label": ["a", "b"]},
        metric="macro_f1",
        seeds=[7, 3],
        recipe={"name": "paper", "learning_rate": "5e-3"},
        audio={"max_seconds": 5, "too_long": "quarantine"},
    )
    assert isinstance(loaded.data, Manifest)
    assert loaded.data.root == "/data/audio"
    assert loaded.data.path == f"{tmp_path.parent}/x.csv"
    assert list(loaded.seeds) == [7, 3]
    assert loaded.recipe == Recipe.from_spec({"name": "paper", "learning_rate": 0.005})
    assert loaded.audio.max_seconds == 5


def test_plain_words_are_text_and_exponents_numbers(tmp_path: Path) -> None:
    """``no`` is a language and ``5e-3`` a rate, whatever YAML 1.1 makes of them."""
    (tmp_path / "task.yaml").write_text(
        "name: t\nlanguage: no\ndescription: 2024-01-31\nrecipe: {learning_rate: 5e-3}\ndata: {path: x.csv}\n",
        encoding="utf-8",
    )
    loaded, problems = load_task_spec(str(tmp_path / "task.yaml"))
    assert problems == []
    assert loaded is not None
    assert (loaded.language, loaded.description, loaded.recipe.learning_rate) == ("no", "2024-01-31", 0.005)


def test_the_canonical_form_gives_the_spec_back(tmp_path: Path) -> None:
    loaded = spec(tmp_path, data={"path": "data.csv", "label": ["a", "b"]}, seeds=3)
    canonical = json.loads(json.dumps(loaded.canonical()))
    assert "source" not in canonical
    assert canonical["data"]["label"] == ["a", "b"]
    again = TaskSpec.model_validate(canonical)
    assert again.canonical() == canonical


def test_a_spec_survives_pickling(tmp_path: Path) -> None:
    loaded = spec(tmp_path, data={"path": "data.csv"})
    again = pickle.loads(pickle.dumps(loaded))  # noqa: S301 (as Ray does between processes)
    assert again == loaded
    assert again.source == loaded.source


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = """name: My Task
famly: SCR
data:
  paht: x.csv
  label: [a, a]
  columns: {pat: x}
seeds: [1, 1]
recipe: {name: defalt, step: 5}
metric: acuracy
audio: {min_seconds: long, too_long: drop}
family: yes
licence: true
"""
    assert faults(tmp_path, text) == [
        "task.yaml:1: name: 'My Task' is not a valid name; use at most 64 of a-z, 0-9, '.', '_' and '-', "
        "starting with a letter or digit",
        "task.yaml:12: licence: must be text, not the truth value true; write it in quotes",
        "task.yaml:3: data.path: is required; add 'path:'",
        "task.yaml:5: data.label: names a column twice; name each label column once",
        "task.yaml:6: data.columns.pat: is not a known key; did you mean 'path'?",
        "task.yaml:4: data.paht: is not a known key; did you mean 'path'?",
        "task.yaml:9: metric: must be 'accuracy', 'slot_accuracy', 'macro_f1', 'weighted_f1', 'f1' or 'eer', not "
        "'acuracy'; did you mean 'accuracy'?",
        "task.yaml:7: seeds: holds a seed twice; remove one of them",
        "task.yaml:8: recipe.name: must be 'default' or 'paper', not 'defalt'; did you mean 'default'?",
        "task.yaml:8: recipe.step: is not a known key; did you mean 'steps'?",
        "task.yaml:10: audio.min_seconds: must be a number, not 'long'; write a number",
        "task.yaml:10: audio.too_long: must be 'crop', 'window', 'quarantine' or 'error', not 'drop'; did you mean "
        "'crop'?",
        "task.yaml:2: famly: is not a known key; did you mean 'family'?",
    ]


BASE = "name: t\ndata: {path: x.csv}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {path: x.csv}", "task.yaml: name: is required; add 'name:'"),
        ("name: t", "task.yaml: data: is required; add 'data:'"),
        ("name: t\ndata: x.csv", "task.yaml:2: data: must be a mapping (lines of 'key: value'), not 'x.csv'"),
        ("name: t\ndata: {reader: manifst}", "task.yaml:2: data: there is no reader 'manifst'; did you mean 'man"),
        ("name: t\ndata: {path: 3}", "task.yaml:2: data.path: must be a path, or one path per split, not the number 3"),
        ("name: t\ndata: {path: {train: x, dev: y}}", "task.yaml:2: data.path.valid: is required"),
        ("name: t\ndata: {path: {train: x, valdi: y}}", "task.yaml:2: data.path.valdi: is not a known key; did you me"),
        ("name: t\ndata: {path: x.csv, label: []}", "task.yaml:2: data.label: has too few entries; give 1 or more"),
        ("name: t\ndata: {path: '${NOT_SET}/x'}", "task.yaml:2: data.path: the environment variable NOT_SET is not"),
        ("name: t\ndata: {path: 'gs://b/x'}", "task.yaml:2: data.path: 'gs://b/x' has an unknown scheme"),
        ("name: t\ndata: {path: ''}", "task.yaml:2: data.path: '' is not a path"),
        (BASE + "metric: eer", "task.yaml: positive: is required by metric 'eer'; name the class to detect"),
        (BASE + "metric: slot_accuracy", "task.yaml:3: metric: is the same as accuracy for a task with one slot"),
        ("name: t\ndata: {path: x.csv, label: [a, b]}\npositive: x", "task.yaml:3: positive: names a class, but"),
        (BASE + "workers: 33", "task.yaml:3: workers: is 33, but a batch has only 32 rows; lower it"),
        (BASE + "shots: 0", "task.yaml:3: shots: must be at least 1, not the number 0"),
        (BASE + "bootstrap: speaker", "task.yaml:3: bootstrap: must be 'utterances' or 'speakers', not 'speaker'; did"),
        (BASE + "source: x", "task.yaml:3: source: is not a known key"),
        (BASE + "seeds: 0", "task.yaml:3: seeds: 0 seeds cannot be used; give 1 to 100, or a list of seeds"),
        (BASE + "seeds: many", "task.yaml:3: seeds: must be a number of seeds or a list of seeds, not 'many'"),
        (BASE + "seeds: []", "task.yaml:3: seeds: has too few entries; give 1 or more"),
        (BASE + "seeds: [-1]", "task.yaml:3: seeds[0]: must be at least 0, not the number -1"),
        (BASE + "seeds: true", "task.yaml:3: seeds: must be a number of seeds or a list of seeds, not the truth v"),
        (BASE + "publish: ensemble", "task.yaml:3: publish: needs several prompts, but there is one seed; give s"),
        (BASE + "seeds: 2\nrecipe: {verbalizer: random, read: separator}\npublish: ensemble",
         "task.yaml:5: publish: averages the classes of linear verbalizers only; set verbalizer: linear, or p"),
        (BASE + "seeds: 2\nsweep: {verbalizer: [linear, random]}\nrecipe: {read: separator}\npublish: ensemble",
         "task.yaml:6: publish: averages the classes of linear"),
        (BASE + "publish: all", "task.yaml:3: publish: must be 'best' or 'ensemble', not 'all'"),
        (BASE + f"family: {'x' * 65}", "task.yaml:3: family: has too many characters; give 64 or fewer"),
        (BASE + "recipe: fast", "task.yaml:3: recipe.name: must be 'default' or 'paper', not 'fast'"),
        (BASE + "recipe:", "task.yaml:3: recipe: is empty, but must be a mapping"),
        (BASE + "recipe: {name: paper, balance: weights}", "task.yaml:3: recipe: balance: weights is not defined"),
        (BASE + "recipe: {steps: 0}", "task.yaml:3: recipe.steps: must be at least 1, not the number 0"),
        (BASE + "audio: {min_seconds: 40}", "task.yaml:3: audio: min_seconds (40) is not below max_seconds (30)"),
        (BASE + "audio: {max_seconds: .inf}", "task.yaml:3: audio.max_seconds: "),
        (BASE + "audio: {max_seconds: true}", "task.yaml:3: audio.max_seconds: must be a number, not the truth value"),
        (BASE + "name: u", "task.yaml:3: name: is given twice, first in line 1; remove one of them"),
        (BASE + "audio:\n  min_seconds: 1\n  min_seconds: 2", "task.yaml:5: audio.min_seconds: is given twice, first"),
        (BASE + "audio: {", "task.yaml:3: is not valid YAML (column 9): "),
        (BASE + "\taudio: x", "task.yaml:3: is not valid YAML (column 1): "),
        (BASE + "audio: !!python/object:os.system {}", "task.yaml:3: is not valid YAML (column 8): could not determ"),
        (BASE + "seeds: !!int x", "task.yaml:3: is not valid YAML (column 8): this value is not what its tag"),
        (BASE + "? [a]\n: x", "task.yaml:3: is not valid YAML (column 3): found unhashable key"),
        (BASE + "3: x", "task.yaml: 3: "),
        (BASE + "---\nname: u", "task.yaml:3: is not valid YAML (column 1): but found another document"),
        ("", "task.yaml: is not a mapping of keys to values"),
        ("- name: t", "task.yaml: is not a mapping of keys to values"),
        ("[" * 2000, "task.yaml: is nested too deeply"),
        ("name: " + "[{a: " * 200_000, "task.yaml: is nested too deeply"),
        ("name: \x07", "task.yaml: is not valid YAML: "),
    ],
)  # fmt: skip
def test_each_fault(tmp_path: Path, text: str, message: str) -> None:
    found = faults(tmp_path, text)
    assert any(fault.startswith(message) for fault in found), found


def test_an_empty_variable_counts_as_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    assert "EMPTY is not set" in faults(tmp_path, "name: t\ndata: {path: '${EMPTY}/x.csv'}")[0]


def test_variables_are_expanded_in_paths_only(tmp_path: Path) -> None:
    loaded = spec(tmp_path, description="${HOME}", data={"path": "x.csv"})
    assert loaded.description == "${HOME}"


def test_yaml_aliases_do_not_explode(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    found = faults(tmp_path, "\n".join([BASE, *lines]))
    assert len(found) == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE + f"seeds: [{'1, ' * 1_000_000}]", "task.yaml: holds more than 20,000 keys and values; shorten"),
        ("\n".join(f"k{number}: 1" for number in range(300_000)), "task.yaml: holds more than 20,000 keys and values"),
        (BASE + "\n".join(f"k{number}: 1" for number in range(5_000)), "task.yaml: and 4900 more problems; correct th"),
        (BASE + "shots: 100000000", "task.yaml:3: shots: must be at most 10,000,000, not the number 100000000"),
        (BASE + "shots: true", "task.yaml:3: shots: must be a whole number, not the truth value true"),
        (BASE + "workers: 1.0", "task.yaml:3: workers: must be a whole number"),
        (BASE + "family: 'a\\x07'\nlanguage: \"a\\nb\"", "task.yaml:4: language: holds a line break"),
        (f"name: t\ndata: {{path: x.csv, label: [{'x' * 201}]}}", "task.yaml:2: data.label[0]: has 201 charact"),
        ("name: t\ndata: {path: x.csv, label: [\"a\\u200b\", \"\\u200b\"]}", "task.yaml:2: data.label[1]: has no vi"),
        ("name: t\ndata: {path: x.csv, label: \"a\\tb\"}", "task.yaml:2: data.label[0]: holds the control"),
    ],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_every_list_and_text_has_an_end(tmp_path: Path, text: str, message: str) -> None:
    found = faults(tmp_path, text)
    assert any(fault.startswith(message) for fault in found), found[:3]
    assert not any("too few" in fault for fault in found)
    assert len(found) <= 102


def test_a_job_has_an_end_of_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MAX_TASKS", 2)
    write_specs(tmp_path, "a", "b", "c")
    specs, [problem] = load_task_specs(["*.yaml"], str(tmp_path), named_in="/job.yaml")
    assert specs == []
    assert str(problem) == (
        "/job.yaml: tasks: matches 3 files, but a job has at most 2 tasks; use fewer tasks, or correct the pattern"
    )


YAML_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "path", "reader", "steps", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(TaskSpec.model_fields)), YAML_VALUES, max_size=5))
def test_any_mapping_is_a_spec_or_problems(tmp_path: Path, content: dict[str, Any]) -> None:
    # JSON is YAML.
    (tmp_path / "task.yaml").write_text(json.dumps(content), encoding="utf-8")
    loaded, problems = load_task_spec(str(tmp_path / "task.yaml"))
    assert (loaded is None) == bool(problems)
    assert all(problem.message and problem.remedy for problem in problems)
    assert not any("pydantic" in str(problem) or "Input should" in str(problem) for problem in problems)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.text("{}[]:,-!&*#?|>'\"%@ \n\tab0", max_size=40).map(str.encode)))
def test_any_bytes_are_a_spec_or_problems(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "task.yaml").write_bytes(content)
    loaded, problems = load_task_spec(str(tmp_path / "task.yaml"))
    assert loaded is None
    assert problems


def test_an_audio_policy_made_in_code_is_checked() -> None:
    with pytest.raises(ValidationError):
        AudioPolicy(min_seconds=2, max_seconds=1)


def test_a_relative_path_in_code_has_no_base() -> None:
    with pytest.raises(ValidationError, match="relative path"):
        Manifest.model_validate({"path": "x.csv"})


def write_specs(directory: Path, *names: str) -> None:
    for name in names:
        file = directory / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"name: {file.stem}\ndata: {{path: x.csv}}\n", encoding="utf-8")


def test_globs_and_paths(tmp_path: Path) -> None:
    write_specs(tmp_path, "b", "a", "deep/er/c", "[d]/e", ".hidden")
    specs, problems = load_task_specs(["b.yaml", "*.yaml", "deep/**/*.yaml", "[d]/e.yaml"], str(tmp_path))
    assert problems == []
    assert [loaded.name for loaded in specs] == ["b", "a", "c", "e"]


def test_patterns_without_files_and_names_given_twice(tmp_path: Path) -> None:
    write_specs(tmp_path, "a", "other/a")
    patterns = ["none/*.yaml", "none.yaml", "other", "*.yaml", "other/*.yaml", "task_specs/esc51.yaml"]
    specs, problems = load_task_specs(patterns, str(tmp_path), named_in="/job.yaml")
    assert [loaded.name for loaded in specs] == ["a"]
    assert problems == [
        Problem("/job.yaml", "tasks[0]", "'none/*.yaml' matches no file", "correct the pattern"),
        Problem("/job.yaml", "tasks[1]", "there is no file 'none.yaml'", "correct the path"),
        Problem("/job.yaml", "tasks[2]", "'other' is a directory", "write other/*.yaml"),
        Problem(
            "/job.yaml",
            "tasks[5]",
            "there is no file 'task_specs/esc51.yaml'",
            "see 'speechprompt tasks' for the known names",
        ),
        Problem(
            f"{tmp_path}/other/a.yaml",
            "name",
            f"'a' is also the name of {tmp_path}/a.yaml",
            "rename one of the two tasks",
        ),
    ]


def test_sound_specs_are_returned_beside_the_problems_of_others(tmp_path: Path) -> None:
    write_specs(tmp_path, "a", "c")
    (tmp_path / "b.yaml").write_text("name: b\n", encoding="utf-8")
    specs, problems = load_task_specs(["*.yaml"], str(tmp_path))
    assert [loaded.name for loaded in specs] == ["a", "c"]
    assert [problem.file for problem in problems] == [f"{tmp_path}/b.yaml"]


def test_specs_in_s3(s3: S3Server) -> None:
    prefix = s3.fresh_prefix()
    for name in ("tasks/a", "tasks/b", "tasks/deep/c"):
        text = f"name: {name[-1]}\ndata: {{path: ../x.csv}}\n"
        object_storage.write_bytes(f"{prefix}/{name}.yaml", text.encode())
    specs, problems = load_task_specs([f"{prefix}/tasks/*.yaml"], "/")
    assert problems == []
    assert [loaded.name for loaded in specs] == ["a", "b"]
    assert isinstance(specs[0].data, Manifest)
    assert specs[0].data.path == f"{prefix}/x.csv"
    assert [loaded.name for loaded in load_task_specs(["tasks/**/*.yaml"], prefix)[0]] == ["a", "b", "c"]
    assert load_task_specs(["tasks/d*.yaml"], prefix, named_in="j")[1][0].message == "'tasks/d*.yaml' matches no file"
