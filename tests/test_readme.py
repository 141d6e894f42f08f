"""Every example of the README is true: files load, commands parse, and what is quick runs."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from ray.scripts.scripts import cli as ray_cli

from infra.local_cluster.__main__ import main as local_cluster
from orchestrator.cli import cli
from orchestrator.job import load_job
from orchestrator.pretraining.file import load_pretrain_file
from task_specs.audio_policy import AudioPolicy
from task_specs.schema import load_task_specs
from tests.fixtures.bundles import random_bundle
from tests.fixtures.command_line import Finished, speechprompt
from tests.fixtures.readme import README, commands, examples, inline_code, yaml_of
from tests.fixtures.tones import tone, write_audio
from tests.fixtures.tuning import TINY, tiny_backbone
from workers.backbone.directory import write_backbone
from workers.bundle.format import Bundle
from workers.bundle.publish import publish

COMMANDS = commands()
WAKE, JOB, MORE, DOORS, LISTED, ARABIC, BACKBONE = [example.text for example in examples("yaml")]
ROOT = README.parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which ``s3://`` is the directory ``s3``, with a backbone and a bundle that are named."""
    monkeypatch.chdir(tmp_path)
    backbone = tiny_backbone()
    for name in ("gslm-hubert100", "pgslm-hubert100"):
        write_backbone(backbone, local(tmp_path, f"s3://models/{name}"))
    for task in ("wake-word", "yes-no"):
        made = random_bundle(
            task=task,
            layers=TINY.layers,
            length=5,
            dim=TINY.dim,
            vocabulary=TINY.vocabulary,
            unit_lm=backbone.lm_fingerprint,
            tokenizer=backbone.tokenizer_fingerprint,
            audio=AudioPolicy(min_seconds=0.0),
        )
        provenance = made.manifest.provenance.model_copy(
            update={"backbone_uri": local(tmp_path, "s3://models/gslm-hubert100")}
        )
        manifest = made.manifest.model_copy(update={"provenance": provenance})
        publish(local(tmp_path, "s3://prompts/baltic"), Bundle(manifest, made.tensors))
    write_audio(tmp_path / "recording.wav", tone(300, 0.4))
    return tmp_path


def local(home: Path, text: str) -> str:
    """The text with places of this machine instead of S3 and of a server that is not there."""
    return text.replace("s3://", f"{home}/s3/").replace("http://mlflow.internal:5000", "sqlite:///mlflow.db")


def write(home: Path, name: str, text: str) -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(local(home, text), encoding="utf-8")
    return path


def write_recordings(home: Path) -> None:
    rows = ["path,word,split"]
    for word in ("open", "close"):
        for number in range(12):
            file = f"{word}/{'abcdef'[number % 6]}_{number}.wav"
            write_audio(home / "recordings" / file, tone(200 + 40 * len(rows), 0.2))
            rows.append(f"{file},{word},{['train', 'train', 'valid', 'test'][number % 4]}")
    write(home, "tasks/wake.csv", "\n".join(rows) + "\n")


def test_the_job_and_its_tasks(home: Path) -> None:
    write_recordings(home)
    for text in (WAKE, DOORS):
        [name] = re.findall(r"# (tasks/\w+\.yaml)", text)
        write(home, name, text)
    job = write(home, "job.yaml", JOB)
    assert load_job(str(job)).name == "baltic"
    done = speechprompt("plan", "job.yaml", "--no-probe")
    assert done.code == 0, done.stderr
    assert "wake-word" in done.stdout
    assert "doors-and-windows" in done.stdout


@pytest.mark.parametrize("field", yaml.safe_load(MORE))
def test_what_a_task_may_also_say(home: Path, field: str) -> None:
    more = yaml.safe_load(local(home, MORE))
    said = {name: more[name] for name in ({field, "metric"} if field == "positive" else {field})}
    # Of a class that it names.
    said |= {"positive": more["positive"]} if field == "metric" else {}
    task = {**yaml.safe_load(local(home, WAKE)), **said}
    write(home, "tasks/wake.yaml", yaml.safe_dump(task))
    specs, problems = load_task_specs(["tasks/*.yaml"], str(home))
    assert problems == []
    assert len(specs) == 1


def test_tasks_of_the_package(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_ROOT", "/data")
    write(home, "arabic.yaml", ARABIC)
    specs, problems = load_task_specs(yaml.safe_load(LISTED)["tasks"], str(home))
    assert problems == []
    assert len(specs) == 3


def sections(kind: str) -> list[str]:
    """Every ``{kind: ...}`` that the README shows with this key before it, in blocks, their comments and the text."""
    text = README.read_text(encoding="utf-8")
    beside = re.findall(r"or (\{kind: [^}]*\})", text) if kind == "tokenizer" else []
    return beside + re.findall(rf"{kind}: (\{{kind: [^}}]*\}})", text)


def test_the_backbone_file_and_its_kinds(home: Path) -> None:
    file = str(write(home, "backbone.yaml", BACKBONE))
    assert load_pretrain_file(file).out == f"{home}/s3/models/baltic-gslm"
    for kind, fewest in (("tokenizer", 3), ("unit_lm", 1)):
        shown = sections(kind)
        assert len(shown) >= fewest
        for section in shown:
            value = section.replace("uri: ...", "uri: other").replace(", ...", "")
            load_pretrain_file(file, [f"{kind}={value}"])
    for prosody in ("{f0_mean: speaker}", "{f0_mean: none}"):
        load_pretrain_file(file, ["unit_lm={kind: pgslm}", f"unit_lm.prosody={prosody}"])


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of commands that were parsed, none of which does anything."""
    names: list[str] = []
    # It would hold for the whole process.
    monkeypatch.setattr("orchestrator.cli.log_as_json", lambda: None)
    for group in (cli, local_cluster, ray_cli):
        for name, command in _leaves(group):
            monkeypatch.setattr(command, "callback", lambda name=name, **_: names.append(name))
    return names


def _leaves(group: click.Command) -> Iterator[tuple[str, click.Command]]:
    assert isinstance(group, click.Group)
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _leaves(command)
        elif command is not None:
            yield name, command


def parse(words: Sequence[str]) -> None:
    """Parse a command by what will read it.

    Raises:
        click.ClickException: a command, an argument or an option that is not there.
    """
    match list(words):
        case ["make", *named]:
            # Targets, and variables that are set to something.
            found = re.findall(r"^([\w-]+:|\w+ \?=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            known = {name.replace(" ?", "") for name in found}
            assert {re.sub("=.*", "=", name) if "=" in name else f"{name}:" for name in named} <= known, named
        case ["python", "-m", module]:
            assert importlib.util.find_spec(module) is not None, module
        case ["speechprompt", *arguments] | ["python", "-m", "orchestrator", *arguments]:
            cli.main(arguments, standalone_mode=False)
        case ["python", "-m", "infra.local_cluster", *arguments]:
            local_cluster.main(arguments, standalone_mode=False)
        case ["ray", *arguments]:
            ray_cli.main(arguments, standalone_mode=False)
            if "--" in arguments:
                parse(arguments[arguments.index("--") + 1 :])
        case ["pip", "install", package]:
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            name, _, extra = package.rstrip("]").partition("[")
            assert name == extras["name"]
            assert not extra or extra in extras["optional-dependencies"], extra
        case _:
            pytest.fail(f"nobody knows this command: {' '.join(words)}")


@pytest.mark.parametrize("words", COMMANDS, ids=[" ".join(words)[:60] for words in COMMANDS])
def test_a_command_is_one(words: list[str], parsed: list[str]) -> None:
    parse(words)
    assert parsed or words[0] in ("make", "pip") or "benchmarks" in words[2]


def test_commands_in_the_text(parsed: list[str]) -> None:
    found = [code for code in inline_code() if re.match(r"(speechprompt|make|pip|python -m) ", code)]
    for code in found:
        # An extra stands in quotes.
        words = code.replace("'", "").split()
        if not _is_command(words):
            parse(words)
    assert len(found) >= 8
    assert parsed


def _is_command(words: Sequence[str]) -> bool:
    """Whether it only names a command, without what it is given."""
    command: click.Command | None = cli
    for word in words[1:] if words[0] == "speechprompt" else [""]:
        command = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
    return command is not None


def test_options_in_the_text() -> None:
    known = {name for _, command in _leaves(cli) for option in command.params for name in option.opts}
    shown = {match[0] for code in inline_code() for match in re.finditer(r"(?<!\S)--[a-z-]+", code)}
    shown |= {word for words in COMMANDS if words[0] == "speechprompt" for word in words if word.startswith("--")}
    assert shown - known - {"--log-format"} == set()
    assert len(shown) > 10


def run(home: Path, words: Sequence[str]) -> Finished:
    done = speechprompt(*(local(home, word) for word in words[1:]))
    assert done.code == 0, (words, done.stderr)
    return done


def test_bundles_are_listed_signed_verified_and_used(home: Path) -> None:
    quick = [words for words in COMMANDS if words[0] == "speechprompt" and words[1] in ("bundle", "classify")]
    # In the order of the README no key is there before it is made.
    made = [words for words in quick if "import" not in words]
    assert len(made) >= 6
    for words in made:
        run(home, words)


def test_a_service_reads_a_bundle(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [snippet] = examples("python")
    # As a reader would: what it says is run.
    exec(compile(local(home, snippet.text), "README.md", "exec"), {})  # noqa: S102
    label, probability = capsys.readouterr().out.split()
    assert label in ("no", "yes")
    assert 0 < float(probability) <= 1


def test_a_job_is_looked_at_before_and_after(home: Path) -> None:
    write_recordings(home)
    write(home, "tasks/wake.yaml", WAKE)
    write(home, "job.yaml", JOB)
    said: dict[str, Any] = {}
    for words in COMMANDS:
        if words[:1] == ["speechprompt"] and words[1] in ("doctor", "status", "results"):
            said[words[1]] = speechprompt(*words[1:], "--json")
    assert set(said) == {"doctor", "status", "results"}
    assert said["doctor"].code == 0, said["doctor"].stdout
    assert json.loads(said["doctor"].stdout)
    # Of a job that has not run there is nothing to show, which is said in one sentence.
    for command in ("status", "results"):
        assert (said[command].code, said[command].stderr.count("\n")) == (2, 1)


def test_yaml_blocks_are_all_known() -> None:
    assert yaml_of("# tasks/wake.yaml") == WAKE
    assert yaml_of("# job.yaml") == JOB
    assert yaml_of("# tasks/doors.yaml") == DOORS
    assert yaml_of("# arabic.yaml") == ARABIC
    assert yaml_of("# backbone.yaml") == BACKBONE
    assert len(examples("yaml")) == 7, "a new example needs a test of its own"
