"""``speechprompt plan``: everything that is wrong, at once, through the real command line; and what would run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from orchestrator import planning
from orchestrator.planning import make_plan
from task_specs.example import SPLITS
from task_specs.prompt_init import BundleInit
from tests.fixtures.bundles import random_bundle
from tests.fixtures.command_line import speechprompt
from tests.fixtures.s3_server import S3Server
from tests.fixtures.tones import tone, write_audio
from tests.fixtures.tuning import TINY, UNIT_TOKENS, UNITS, make_lane, tiny_backbone, tiny_lm
from tests.task_specs.files import SOUND, delimited
from workers.backbone.directory import Backbone, read_description, write_backbone
from workers.bundle.publish import publish
from workers.speech.external import ExternalConfig, ExternalTokenizer


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a backbone, and a job that names all of ``tasks``."""
    monkeypatch.chdir(tmp_path)
    write_backbone(tiny_backbone(), str(tmp_path / "backbone"))
    (tmp_path / "tasks").mkdir()
    write_yaml(tmp_path / "job.yaml", {"backbone": "backbone", "tasks": "tasks/*.yaml"})
    return tmp_path


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def add_task(workplace: Path, name: str, manifest: str = delimited(SOUND), **fields: Any) -> None:
    (workplace / "tasks" / f"{name}.csv").write_text(manifest, encoding="utf-8")
    data = {"path": f"{name}.csv", **fields.pop("data", {})}
    write_yaml(workplace / "tasks" / f"{name}.yaml", {"name": name, "data": data, **fields})


def external_backbone() -> Backbone:
    return Backbone(
        name="elsewhere",
        config=TINY,
        lm_tensors={name: tensor.numpy().copy() for name, tensor in tiny_lm().state_dict().items()},
        unit_tokens=tuple(UNIT_TOKENS.tolist()),
        tokenizer=ExternalTokenizer(ExternalConfig(name="hubert-km20", units=UNITS)),
    )


def test_all_problems_of_everything_come_at_once(workplace: Path) -> None:
    job = {
        "backbone": "backbon",
        "tasks": ["tasks/*.yaml", "more/*.yaml"],
        "tracking": "sqlite:///job.yaml/mlflow.db",
        "colour": "red",
    }
    write_yaml(workplace / "job.yaml", job)
    add_task(workplace, "a", "label,split\nyes,train\n")
    add_task(workplace, "b", metric="acuracy")
    add_task(workplace, "c", "units,label,split\n1 x,yes,train\n2,no,train\n3,no,valid\n4,maybe,test\n")
    add_task(workplace, "d", "path,label,split\nabsent.wav,yes,train\n../x.wav,no,train\n")
    done = speechprompt("plan", "job.yaml", "--set", "gang=many")
    assert done.code == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert all("; " in line for line in done.problems), done.stderr
    assert done.stderr.splitlines()[-1] == f"{len(done.problems)} problems; nothing was started"
    for place, message in [
        ("command line: gang", "must be 'auto' or a number of lanes"),
        ("job.yaml:6: colour", "is not a known key"),
        ("job.yaml: backbone", "there is no such directory; did you mean 'backbone'?"),
        ("job.yaml: tracking", "is not a directory"),
        ("tasks/b.yaml:4: metric", "did you mean 'accuracy'?"),
        ("tasks/a.csv:1", "has no column 'path', 'units'"),
        ("tasks/c.csv:2: units", "'x' is not a unit number"),
        ("tasks/c.csv:5: label", "'maybe' occurs in test but not in train"),
        ("tasks/d.csv:2: path", "absent.wav"),
        ("tasks/d.csv:3: path", "x.wav"),
        ("tasks[1]", "more/*.yaml"),
    ]:
        assert [line for line in done.problems if place in line and message in line], (place, message, done.stderr)
    assert len(done.problems) == 13


def test_places_that_cannot_be_written_are_problems(workplace: Path, s3: S3Server) -> None:
    add_task(workplace, "sound")
    (workplace / "file").write_text("")
    changes = ("bundles=s3://no-such-bucket/x", "storage=file/below", f"units={s3.fresh_prefix()}")
    done = speechprompt("plan", "job.yaml", *(part for change in changes for part in ("--set", change)))
    assert done.code == 2
    assert [line.split(": ")[1] for line in done.problems] == ["bundles", "storage"], done.stderr
    assert "no bucket 'no-such-bucket'" in done.problems[0]


def test_a_key_that_is_not_there_is_found_before_anything_starts(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_task(workplace, "sound")
    monkeypatch.setenv("SPEECHPROMPT_SIGNING_KEY", "absent.pem")
    done = speechprompt("run", "job.yaml")
    assert done.code == 2
    [problem] = done.problems
    assert problem.startswith("SPEECHPROMPT_SIGNING_KEY: ")
    assert "absent.pem" in problem


def test_a_store_that_is_away_ends_the_plan_and_a_tracking_server_does_not(
    workplace: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_task(workplace, "sound")
    planned = make_plan("job.yaml", ["tracking=http://me:hunter2@127.0.0.1:9"])
    assert planned.notes[0].startswith("tracking http://***@127.0.0.1:9 cannot be used (Connection refused); ")
    assert planned.notes[0].endswith("runs are kept on disk until it answers")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    done = speechprompt(
        "plan", "job.yaml", "--set", f"bundles={s3.fresh_prefix()}", "--set", "backbone=s3://b/backbone"
    )
    assert done.code == 2
    assert len(done.problems) == 1, done.stderr
    assert "bundles: " in done.problems[0]
    assert "no answer from http://127.0.0.1:9; check" in done.problems[0]


def test_a_task_that_does_not_fit_the_backbone_is_a_problem(workplace: Path) -> None:
    write_backbone(external_backbone(), str(workplace / "external"))
    add_task(workplace, "high", delimited(SOUND).replace("7 8 7", f"7 {UNITS}"))
    write_audio(workplace / "tasks" / "a.wav", tone(440, 0.2))
    add_task(
        workplace,
        "audio",
        "path,label,split,start,end\n"
        + "".join(
            f"a.wav,{label},{split},{number / 100},0.2\n"
            for number, (label, split) in enumerate([("n", "train"), ("y", "train"), ("n", "valid"), ("y", "test")])
        ),
    )
    rows = [{"units": "1", "label": f"c{number:02d}", "split": "train"} for number in range(UNITS + 1)]
    rows += [{"units": "2", "label": "c00", "split": split} for split in ("valid", "test")]
    add_task(workplace, "many", delimited(rows), recipe={"verbalizer": "frequency"})
    add_task(workplace, "sound")
    done = speechprompt("plan", "job.yaml", "--set", "backbone=external")
    assert done.code == 2
    assert [line.split(": ")[:2] for line in done.problems] == [
        ["tasks/audio.yaml", "data"],
        ["tasks/high.yaml", "data"],
        ["tasks/many.yaml", "recipe"],
    ]
    assert "give units instead" in done.problems[0]
    assert f"holds unit {UNITS}, but the backbone has units 0 to {UNITS - 1}" in done.problems[1]
    assert f"there are {UNITS + 1} classes and {UNITS} units" in done.problems[2]


@pytest.mark.parametrize(
    "content", ["", "[]", "backbone: [", "backbone: !!python/name:os.system x\n", "tasks: 3\n", "\x00"]
)
def test_a_job_file_of_any_kind_is_answered_in_sentences(workplace: Path, content: str) -> None:
    (workplace / "job.yaml").write_text(content, encoding="utf-8")
    done = speechprompt("plan", "job.yaml")
    assert (done.code, done.stdout) == (2, "")
    assert done.problems
    assert all("job.yaml" in line and "; " in line for line in done.problems), done.stderr


def test_a_job_file_that_is_not_there(workplace: Path) -> None:  # noqa: ARG001
    done = speechprompt("plan", "absent.yaml")
    assert done.code == 2
    assert len(done.problems) == 1
    assert "absent.yaml" in done.problems[0]


def test_run_says_the_same_and_starts_nothing(workplace: Path) -> None:
    add_task(workplace, "a", metric="acuracy")
    planned, ran = speechprompt("plan", "job.yaml"), speechprompt("run", "job.yaml")
    assert (ran.code, ran.stderr) == (2, planned.stderr)
    assert sorted(path.name for path in workplace.iterdir()) == ["backbone", "job.yaml", "tasks"]


def test_results_of_a_job_that_has_not_run(workplace: Path) -> None:
    add_task(workplace, "a")
    done = speechprompt("results", "job.yaml", "--json")
    assert (done.code, done.stdout) == (2, "")
    assert "run it with 'speechprompt run'" in done.stderr


@pytest.mark.parametrize(
    ("gang", "said"),
    [
        (
            "auto",
            r"11 lanes, at most [1-6] per forward pass \(1/2.* lanes take .* lane steps a second and .*\)",
        ),
        ("3", "11 lanes, at most 3 per forward pass"),
        ("1", "11 lanes, at most 1 per forward pass"),
    ],
)
def test_a_sound_job_is_shown(workplace: Path, gang: str, said: str) -> None:
    add_task(workplace, "one", family="[SCR]", language="lt", seeds=9)
    two_slots = [{**row, "size": "small" if row["label"] == "no" else "large"} for row in SOUND]
    add_task(workplace, "two", delimited(two_slots), data={"label": ["label", "size"]}, recipe={"steps": 1234})
    add_task(workplace, "three", recipe={"verbalizer": "random"})
    done = speechprompt("plan", "job.yaml", "--set", f"gang={gang}", "--set", "resources.workers=2")
    assert (done.code, done.stderr) == (0, "")
    cells = {
        line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:-1]]
        for line in done.stdout.splitlines()
        if line.startswith("│")
    }
    prompt, pooled = 2 * TINY.layers * 3 * TINY.dim, TINY.vocabulary + TINY.dim
    wanted = f"{prompt + 2 * TINY.dim + TINY.layers + 2 * pooled:,}"
    assert cells["one"] == ["[SCR]", "lt", "2", "2/1/1", "9", "2,000", wanted]
    assert cells["two"][2:] == ["2x2", "2/1/1", "1", "1,234", f"{prompt + 4 * TINY.dim + TINY.layers + 4 * pooled:,}"]
    assert cells["three"][-1] == f"{prompt + TINY.dim:,}"
    assert re.search(f"^ +gangs  {said}$", done.stdout, re.MULTILINE), done.stdout
    assert f"{workplace}/bundles" in done.stdout
    assert re.search("^baselines  majority, ngrams$", done.stdout, re.MULTILINE)


def test_bytes_of_the_lm_are_those_of_its_tensors(workplace: Path) -> None:
    add_task(workplace, "a")
    stored = sum(np.asarray(tensor).nbytes for tensor in tiny_backbone().lm_tensors.values())
    assert make_plan("job.yaml").lm_bytes == stored


def test_a_sweep_is_shown_with_its_lanes_and_sizes(workplace: Path) -> None:
    sweep = {"learning_rate": [0.001, 0.01], "prompt_length": [2, 9], "halving": {"eta": 3}}
    add_task(workplace, "swept", seeds=3, sweep=sweep)
    done = speechprompt("plan", "job.yaml", "--no-probe")
    assert done.code == 0, done.stderr
    assert "sweep  swept: 2 learning_rate x 2 prompt_length; 2 times, 1 of 3 goes on" in done.stdout
    assert "12 lanes; how many share a forward pass is measured when the job starts" in done.stdout
    read = 2 * TINY.dim + TINY.layers + 2 * (TINY.vocabulary + TINY.dim)
    sizes = [2 * TINY.layers * length * TINY.dim + read for length in (2, 9)]
    assert f"{sizes[0]:,} to {sizes[1]:,}" in done.stdout


def begin_with(workplace: Path, **fields: Any) -> list[str]:
    """The problems of a task that begins with bundles, without the directory."""
    add_task(workplace, "follower", **fields)
    done = speechprompt("plan", "job.yaml", "--no-probe")
    return [line.replace(f"{workplace}/", "") for line in done.problems]


def test_bundles_to_begin_with_are_found_and_held_to_a_version(workplace: Path) -> None:
    ours = read_description(str(workplace / "backbone")).fingerprints.unit_lm
    made = random_bundle(task="donor", layers=TINY.layers, length=4, dim=TINY.dim, unit_lm=ours)
    published = publish(str(workplace / "bundles"), made)
    foreign = publish(str(workplace / "bundles"), random_bundle(task="foreign"))
    init = {"bundle": "../bundles/donor"}
    sweep = {"prompt_init": ["normal", init]}
    assert begin_with(workplace, recipe={"prompt_length": 4}, sweep=sweep) == []
    [task] = make_plan("job.yaml").tasks
    assert [point.name for point in task.spec.points] == ["normal", f"from-donor-{published.version[:6]}"]
    assert task.spec.points[1].recipe.prompt_init == BundleInit(bundle=published.uri, version=published.version)
    [wrong] = begin_with(workplace, recipe={"prompt_init": init})
    assert wrong.startswith("tasks/follower.yaml: recipe.prompt_length: is 3, but the prompt of bundle bundles/donor/")
    assert wrong.endswith("has length 4; set it to 4")
    [wrong] = begin_with(workplace, recipe={"prompt_init": {"bundle": foreign.uri}})
    assert "recipe.prompt_init: bundles/foreign/" in wrong
    assert "was tuned on another unit LM (toy); name a bundle of backbone 'tiny'" in wrong
    [wrong] = begin_with(workplace, recipe={"prompt_init": {"bundle": "../bundles/absent"}})
    assert "recipe.prompt_init: bundles/absent holds no bundle" in wrong
    both = {"prompt_init": [init, {"bundle": published.uri}]}
    [wrong] = begin_with(workplace, recipe={"prompt_length": 4}, sweep=both)
    assert "sweep.prompt_init: names a bundle twice" in wrong
    publish(str(workplace / "bundles"), random_bundle(task="several", unit_lm=ours, members=(0, 1)))
    [wrong] = begin_with(workplace, recipe={"prompt_init": {"bundle": "../bundles/several"}})
    assert wrong.endswith("is an ensemble of several prompts; name a bundle of one prompt")
    old = {"bundle": "../bundles/donor", "version": "0" * 16}
    [wrong] = begin_with(workplace, recipe={"prompt_length": 4, "prompt_init": old})
    assert f"is not version {'0' * 16}" in wrong


def test_few_shots_are_shown_with_the_classes_that_have_less(workplace: Path) -> None:
    rows = [
        {"units": f"{number} 19", "label": label, "split": split}
        for split in ("train", "valid", "test")
        for label, count in (("no", 6), ("yes", 2))
        for number in range(count)
    ]
    add_task(workplace, "few", delimited(rows), shots=4, seeds=2, recipe={"balance": "sampling"})
    shown = speechprompt("plan", "job.yaml", "--no-probe").stdout
    assert "6/8/8" in shown
    assert "linear verbalizer, balanced by sampling" in shown
    assert "few: 4 of each of 2 classes, drawn by seed from 8; yes with all they have, which are fewer" in shown


def test_labels_that_no_bundle_holds_are_problems_of_their_rows(workplace: Path) -> None:
    labels = ["x" * 201, "a\nb", "a\x1b[2J", "\u200b", "line\u2028break", "sound"]
    rows = [{"units": "1 2", "label": label, "split": split} for split in SPLITS for label in labels]
    add_task(workplace, "labels", delimited(rows))
    done = speechprompt("plan", "job.yaml", "--no-probe")
    assert done.code == 2
    assert [re.sub(r"^.*?csv:[0-9]+: label: '.*' ", "", line) for line in done.problems] == [
        "has 201 characters, but a bundle holds at most 200; shorten it",
        "holds a line break; write it on one line",
        "holds the control character U+001B; remove it",
        "has no visible character; write a word",
        "holds a line break; write it on one line",
    ]


def test_a_prompt_that_no_bundle_holds_is_a_problem_of_its_task(workplace: Path) -> None:
    add_task(workplace, "sound")
    add_task(workplace, "other")
    long = "/".join(["b" * 200] * 3)
    done = speechprompt("plan", "job.yaml", "--no-probe", "--set", f"bundles={long}/{'c' * 200}/{long}/{long}/{long}")
    assert done.code == 0, done.stderr
    write_backbone(tiny_backbone(), str(workplace / long))
    done = speechprompt("plan", "job.yaml", "--no-probe", "--set", f"backbone={long}")
    assert done.code == 2
    # It is wrong for every task, and said once.
    [problem] = done.problems
    assert "backbone: a bundle's manifest cannot hold it: backbone_uri has " in problem


def test_prompts_of_all_tasks_are_counted_first(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MAX_LANES", 10)
    add_task(workplace, "one", seeds=6)
    add_task(workplace, "two", "no table", sweep={"dropout": [0.1, 0.2, 0.3]}, seeds=2)
    done = speechprompt("plan", "job.yaml", "--no-probe")
    assert done.problems == [
        "job.yaml: tasks: 12 prompts are too many for one job, which tunes at most 10; use fewer tasks or seeds"
    ]


@pytest.mark.parametrize(
    ("recipe", "trained"),
    [
        ({}, 306),
        ({"read": "mean"}, 290),
        ({"read": "separator"}, 256),
        ({"name": "paper"}, 480),
        ({"verbalizer": "random"}, 208),
        ({"name": "paper", "verbalizer": "frequency"}, 336),
    ],
)
def test_the_plan_counts_all_that_a_prompt_trains(workplace: Path, recipe: dict[str, Any], trained: int) -> None:
    """2 x 2 x 3 x 16 numbers of the layers (paper: 5), 16 of the separator, 24 of each class and of each special token,
    and for a pooled reading 16 more of each class, 16 of the query and 2 weights of the layers."""
    add_task(workplace, "a", recipe=recipe)
    plan = make_plan("job.yaml")
    [shape] = plan.tasks[0].prompt_shapes(plan.backbone)
    assert shape.size == trained
    assert len(make_lane(tiny_lm(), shape.classes, **recipe).initial_state().values) == trained
    done = speechprompt("plan", "job.yaml", "--no-probe")
    assert re.search(rf"\b{trained}\b", done.stdout), done.stdout
