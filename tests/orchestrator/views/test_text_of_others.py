"""Names, labels and errors by unknown hands, through every view: they are shown, and do nothing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import RenderableType

from infra.printable import printable, printable_lines, spreadsheet_cell
from orchestrator.commands.bundle import print_manifest
from orchestrator.commands.status import status_view
from orchestrator.job_status import DriverStatus, JobStatus
from orchestrator.progress import PlainConsole
from orchestrator.report import BaselineFigures, JobReport, TaskRow
from orchestrator.views.backbone import backbone_table
from orchestrator.views.results_page.page import render
from orchestrator.views.results_page.task_view import task_view
from orchestrator.views.tables import as_csv, as_markdown, results_text
from tests.fixtures.bundles import random_bundle
from tests.fixtures.tuning import tiny_backbone
from tests.orchestrator.views.results_page.test_results_page import Page, outcome
from workers.bundle.card import card
from workers.bundle.manifest import BundleManifest, Slot, Task
from workers.tuning.run.status import GangStatus, LaneStatus

PIECES = [
    *("[/x]", "[red]", "[link=file:///etc]", ":cat:", "\x1b[2J", "\x9b31m", "\x07", "\u202e", "\u2066", "\u200b", "\n"),
    *("\r", "\t", "\u2028", "|", "`", "```", "*", "_", "$x$", "<script>alert(1)</script>", "<b>", "</title>", "&lt;"),
    *(
        "](http://x)",
        "![x](y)",
        "https://x.example",
        "www.x.example",
        "=1+1",
        "+1",
        "-0.5",
        "@x",
        "\uff1d",
        "{{ 7*7 }}",
    ),
    *("{% raw %}", "'", '"', "\\", "# ", "- ", "---", "ž", "日本", "a", " "),
]
HOSTILE = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
LABELS = HOSTILE.map(lambda text: re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", "", text) or "x")
"""What a bundle takes: nothing that would break a line."""
MOMENT = datetime(2025, 1, 1, tzinfo=UTC)
any_text = given(text=HOSTILE)
few = settings(max_examples=20, deadline=None)
fewest = settings(max_examples=5, deadline=None)


def report(text: str) -> JobReport:
    row = TaskRow(
        task=text,
        family=text,
        language=text,
        classes=text,
        metric="accuracy",
        recipe=text,
        status="failed",
        error=text,
        baselines={"probe": BaselineFigures(error=text)},
    )
    return JobReport(job=text, backbone=text, tasks=[row])


def squeezed(text: str) -> str:
    """Tables and HTML may fold spaces."""
    return "".join(text.split())


def terminal(shown: RenderableType | Callable[[PlainConsole], None]) -> str:
    """What a terminal that is wide enough gets."""
    console = PlainConsole(file=io.StringIO(), width=2_000, force_terminal=True, color_system=None)
    if callable(shown):
        shown(console)
    else:
        console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def check_terminal(said: str, text: str, plain: str) -> None:
    assert printable_lines(said) == said
    assert squeezed(printable(text)) in squeezed(said)
    # Nothing that it holds begins a line.
    assert said.count("\n") == plain.count("\n")


@any_text
@example(text="[/x]")
@few
def test_results_on_a_terminal(text: str) -> None:
    check_terminal(terminal(results_text(report(text))), text, terminal(results_text(report("x"))))


@any_text
@few
def test_status_on_a_terminal(text: str) -> None:
    def view(text: str) -> str:
        lane = LaneStatus(lane=text, task=text, state="failed", step=1, steps=2, metric=text, value=0.5, error=text)
        place: dict[str, Any] = {"submission": "", "host": text, "pid": 1, "since": MOMENT}
        gang = GangStatus(gang=text, device=text[:32], width=1, updated=MOMENT, lanes=[lane], **place)
        failures = {"": text}
        driver = DriverStatus(submitted=MOMENT, stage="ended", tasks=1, failures=failures, outcome=text, **place)
        return terminal(status_view(JobStatus(job=text, driver=driver, gangs=[gang], last_sign=MOMENT), MOMENT))

    check_terminal(view(text), text, view("x"))


@any_text
@few
def test_a_backbone_on_a_terminal(text: str) -> None:
    def view(text: str) -> str:
        return terminal(backbone_table(replace(tiny_backbone(), name=text, licence=text)))

    check_terminal(view(text), text, view("x"))


@any_text
@few
def test_results_for_spreadsheets(text: str) -> None:
    document = as_csv(report(text))
    assert printable_lines(document) == document
    _, row = csv.reader(io.StringIO(document))
    assert row[0] == spreadsheet_cell(text)
    for cell in row:
        assert not cell.startswith(("=", "@", "\t", "\r", "\uff1d")), cell
        assert not cell.startswith(("+", "-")) or float(cell) is not None


@any_text
@few
def test_results_in_markdown(text: str) -> None:
    document = as_markdown(report(text))
    assert printable_lines(document) == document
    said, tags = rendered(document)
    assert tags == rendered(as_markdown(report("x")))[1]
    assert squeezed(printable(text)) in squeezed(said)


@any_text
@example(text="".join(PIECES))
@fewest
def test_the_results_page(text: str) -> None:
    def page(text: str) -> Page:
        label = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", "", text) or "x"
        shown = report(text)
        return Page(render(shown, [task_view(shown.tasks[0], [outcome(((label, f"{label}2"),))])]))

    found, plain = page(text), page("x")
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    assert printable_lines(found.said) == found.said
    assert squeezed(printable_lines(text)) in squeezed(found.said)


def manifest(text: str) -> BundleManifest:
    made = random_bundle().manifest
    changes = {
        "task": Task(name="toy", family=text, language=text),
        "slots": (Slot(name=text, labels=(text, f"{text}2")),),
        "backbone": made.backbone.model_copy(update={"name": text}),
        "recipe": {"name": text},
    }
    return BundleManifest.model_validate(made.model_copy(update=changes).model_dump())


@given(text=LABELS)
@few
def test_the_card(text: str) -> None:
    document = card(manifest(text), licence=f"{text}\n{text}")
    assert printable_lines(document) == document
    front, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", document, re.DOTALL).groups()  # type: ignore[union-attr]
    assert yaml.safe_load(front)["language"] == text
    said, tags = rendered(body)
    assert tags == rendered(re.sub(r"(?s)^---\n.*?\n---\n", "", card(manifest("x"), licence="x")))[1]
    assert squeezed(printable(f"Licence of the data: {' '.join(f'{text} {text}'.split())}")) in squeezed(said)
    assert squeezed(printable(text)) in squeezed(said)


@given(text=LABELS)
@few
def test_a_bundle_on_a_terminal(text: str) -> None:
    def view(text: str) -> str:
        return terminal(lambda console: print_manifest("/bundles/toy/1", manifest(text), console))

    said = view(text)
    assert printable_lines(said) == said
    assert squeezed(printable(text)) in squeezed(said)


def rendered(document: str) -> tuple[str, list[str]]:
    """What a reader of the Markdown sees, and the elements it is made of but for plain code."""
    words, tags = [], []
    for token in MarkdownIt("commonmark").enable("table").parse(document):
        tags.append(token.type)
        for child in token.children or ():
            if child.type in ("text", "text_special", "code_inline"):
                words.append(child.content)
            else:
                tags.append(child.type)
    return "".join(words), tags


def test_spreadsheets_get_numbers_as_numbers() -> None:
    expected = {
        "-0.5": "-0.5",
        "+1e-3": "+1e-3",
        "-": "'-",
        "-1+cmd|x": "'-1+cmd|x",
        "=1": "'=1",
        "@a": "'@a",
        "a=1": "a=1",
        "": "",
        "\t=1": "'\\t=1",
        "\uff1d1": "'\uff1d1",
    }
    assert {text: spreadsheet_cell(text) for text in expected} == expected
