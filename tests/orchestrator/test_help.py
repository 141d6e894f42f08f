"""Help pages: quick, complete, and with the same words for the same thing."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator

import click
import pytest

from orchestrator.cli import COMMANDS, OF_TRAINING, cli
from tests.fixtures.command_line import speechprompt


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands with the words that call them, groups of commands included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


PAGES = dict(commands())
RUN = {path: command for path, command in PAGES.items() if not isinstance(command, click.Group) or command.params}
"""Those that do something by themselves."""


def page(path: tuple[str, ...]) -> str:
    done = speechprompt(*path, "--help")
    assert (done.code, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("path", RUN, ids=" ".join)
def test_every_page_has_an_example_and_its_exit_codes(path: tuple[str, ...]) -> None:
    text = page(path)
    _, _, end = text.partition("Examples:\n")
    examples, _, codes = end.partition("Exit codes:\n")
    assert f"    speechprompt {' '.join(path)}" in examples
    assert codes.split()[0] == "0"
    assert {"0", "2", "70"} <= {line.split()[0] for line in codes.splitlines()}
    assert "  \n" not in text


def test_the_commands_are_listed_in_the_order_of_use() -> None:
    text = page(())
    places = [text.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert [line for line in text.splitlines() if line.endswith(":")] == [
        "Options:", "First steps:", "Jobs:", "Data:", "Backbones:", "Bundles:",
    ]  # fmt: skip


def test_the_same_option_has_the_same_words_everywhere() -> None:
    words: defaultdict[str, set[str]] = defaultdict(set)
    for command in PAGES.values():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for name in ("--json", "--set", "--restart", "--retry-failed", "--grace"):
                    if name in parameter.opts:
                        words[name].add(str(parameter.help))
    assert set(words) == {"--json", "--set", "--restart", "--retry-failed", "--grace"}
    assert {name: len(said) for name, said in words.items()} == dict.fromkeys(words, 1)


def test_help_version_and_completion_import_nothing_heavy() -> None:
    program = f"""
import contextlib, io, os, sys
from orchestrator.__main__ import main
for arguments in {[list(path) for path in PAGES]} + [[]]:
    for asked in ("--help", *(["--version"] if not arguments else [])):
        sys.argv = ["speechprompt", *arguments, asked]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            main()
os.environ |= {{"_SPEECHPROMPT_COMPLETE": "bash_complete", "COMP_WORDS": "speechprompt ru", "COMP_CWORD": "1"}}
sys.argv = ["speechprompt"]
with contextlib.suppress(SystemExit):
    main()
heavy = ("torch", "numpy", "pydantic", "ray", "mlflow", "scipy", "pandas", "pyarrow", "soundfile", "boto3", "requests")
assert not [name for name in heavy if name in sys.modules]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "plain,run\n"


WITHOUT_EXTRAS = [
    ["run", "nojob.yaml"],
    ["plan", "nojob.yaml"],
    ["submit", "nojob.yaml"],
    ["status", "nojob.yaml"],
    ["results", "nojob.yaml"],
    ["tokenize", "nojob.yaml"],
    ["backbone", "pretrain", "nothing.yaml"],
    ["backbone", "inspect", "nowhere"],
    ["bundle", "inspect", "nowhere"],
    ["bundle", "verify", "nowhere"],
    ["classify", "--bundle", "nowhere", "a.wav"],
    ["tasks", "check", "esc50", "--root", "nowhere"],
    ["demo", "demo"],
]


@pytest.mark.parametrize("arguments", WITHOUT_EXTRAS, ids=" ".join)
def test_without_extras_a_command_works_or_says_what_to_install(
    arguments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OF_TRAINING}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Absent())
from orchestrator.__main__ import main
sys.argv = ["speechprompt", *{arguments}]
main()
"""
    run = [sys.executable, "-c", program]
    where = tmp_path_factory.mktemp("bare")
    done = subprocess.run(run, cwd=where, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == 2, done.stderr
    first = done.stderr.splitlines()[0]
    assert "pip install 'speechprompt[" in first or "no" in first, first
