"""Consoles show text, and nothing in it steers them."""

from __future__ import annotations

import io
from collections.abc import Callable

import click
import pytest
from rich.table import Table
from rich.text import Text

from infra.errors import InvalidInputs, JobError, Problem
from orchestrator import cli
from orchestrator.progress import PlainConsole, ProgressView
from orchestrator.report import JobReport, TaskRow
from orchestrator.views.results_page.page import render
from orchestrator.views.tables import as_csv, as_markdown
from tests.fixtures.command_line import speechprompt

HOSTILE = "a\x1b]0;owned\x07\x9b2J\u202eb|\n# c"
STEERING = "\x1b\x07\x9b\u202e"


def test_tables_and_lines_hold_no_control_characters() -> None:
    out = io.StringIO()
    console = PlainConsole(file=out, width=120, color_system=None)
    table = Table("label")
    table.add_row(Text(HOSTILE))
    console.print(table)
    console.print(f":cat: [/x] {HOSTILE}")
    shown = out.getvalue()
    assert r"│ a\x1b]0;owned" in shown
    assert r":cat: [/x] a\x1b]0;owned\x9b2J\u202eb" in shown
    assert not set(STEERING) & set(shown)


def test_a_console_keeps_its_own_colours() -> None:
    out = io.StringIO()
    PlainConsole(file=out, force_terminal=True, color_system="standard").print("x", style="red")
    assert out.getvalue() == "\x1b[31mx\x1b[0m\n"


def test_progress_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    view = ProgressView()
    view.line(f"note: {HOSTILE}")
    [line] = capsys.readouterr().err.splitlines()
    assert not set(STEERING) & set(line)


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    listed = speechprompt("--help")
    assert listed.code == 0
    context = click.Context(cli.cli)
    for name, said in cli.COMMANDS.items():
        command = cli.cli.get_command(context, name)
        assert command is not None
        assert command.help is not None
        assert command.help.startswith(said.rstrip(".")[:40])
        assert name in listed.stdout
    assert "No such command 'publish'" in speechprompt("publish").stderr


@pytest.mark.parametrize(
    "error",
    [JobError(f"there is no {HOSTILE}; name it"), InvalidInputs([Problem(HOSTILE, HOSTILE, HOSTILE, "rename it")])],
)
def test_errors_are_lines_of_text(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "cli", fail)
    ended = speechprompt()
    assert ended.code == 2
    assert not set(STEERING) & set(ended.stderr)
    assert all(line.startswith(("error: there is no a", r"a\x1b", "1 problem;")) for line in ended.stderr.splitlines())


@pytest.mark.parametrize("shape", [as_csv, as_markdown, lambda report: render(report, [])])
def test_results_hold_no_control_characters(shape: Callable[[JobReport], str]) -> None:
    row = TaskRow(task="t", family=HOSTILE, language=HOSTILE, status="failed", recipe=HOSTILE, error=HOSTILE)
    document = shape(JobReport(job="j", backbone=HOSTILE, tasks=[row]))
    assert not set(STEERING) & set(document)
