"""Prompts beside baselines and published figures, as text, CSV and Markdown."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from orchestrator.progress import results_console
from orchestrator.report import BaselineFigures, JobReport, TaskRow, write_report
from orchestrator.views.tables import as_csv, as_markdown, results_text
from task_specs.published import SYSTEMS, published_figures
from tests.fixtures.command_line import speechprompt
from tests.orchestrator.test_report import make_job
from workers.baselines.verdict import TaskVerdict
from workers.evaluation.comparison import Comparison, Verdict

PUBLISHED = published_figures().tasks
ROWS = [
    TaskRow(
        task="lt", metric="accuracy", recipe="paper", status="published", test=0.5, test_std=0.025, seeds=3,
        baselines={"majority": BaselineFigures(test=0.337), "ngrams": BaselineFigures(error="no room; leave it out")},
        published=PUBLISHED["lithuanian-speech-commands"], bundle="/bundles/lt",
    ),
    TaskRow(
        task="spoof", metric="accuracy", recipe="default", status="failed", error="a|b, \"c\"",
        published=PUBLISHED["asvspoof2019-la"],
    ),
    TaskRow(task="mine", metric="eer", recipe="default", status="published", test=0.1, seeds=1),
]  # fmt: skip
REPORT = JobReport(job="toy", backbone="tiny", tasks=ROWS)


def judged(task: str, verdict: Verdict | None, difference: float = 0.0, **fields: Any) -> TaskRow:
    """A row of a task with a verdict against ``ngrams``."""
    interval = (difference - 0.02, difference + 0.02)
    comparison = Comparison(difference=difference, interval=interval, p=0.01, margin=0.03) if verdict else None
    found = TaskVerdict(
        verdict=verdict, baseline="ngrams", comparison=comparison, p=0.02 if verdict else None, **fields
    )
    figures = {"majority": BaselineFigures(test=0.2), "ngrams": BaselineFigures(test=0.5)}
    return TaskRow(
        task=task, metric="accuracy", recipe="default", status="published", test=0.5 + difference, seeds=1,
        baselines=figures, verdict=found,
    )  # fmt: skip


JUDGED = JobReport(
    job="toy",
    backbone="tiny",
    tasks=[
        judged("better", "win", 0.05),
        judged("worse*", "loss", -0.281),
        judged("alike", "tie"),
        judged("few", "undecided", -0.02),
        judged("old", None, reason="kept no answers; run the job with --restart"),
        TaskRow(task="failed", metric="accuracy", status="failed", error="no room"),
    ],
)
COUNTS = (
    "Prompts against the baseline that is best on validation: 1 win, 1 tie, 1 loss, 1 undecided (paired bootstrap over "
    "test utterances or speakers, and seeds; Holm's correction over 4 tasks; a tie is at most 1 point worse, 3 with "
    "fewer than 1,000 test examples)."
)
LOSS = "the baseline ngrams is significantly better than the prompts, by 28.1 points (95 % interval 26.1 to 30.1)."


def lines_of(report: JobReport, capsys: pytest.CaptureFixture[str]) -> list[str]:
    results_console().print(results_text(report))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_text_has_all_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(REPORT, capsys)
    start = lines.index("test: prompt, baselines, published")
    rows = [
        [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]
        for line in lines[start:]
        if "│" in line or "┃" in line
    ]
    assert rows == [
        ["task", "metric", "recipe", "prompt", "majority", "ngrams", *SYSTEMS],
        ["lt", "accuracy", "paper", "50.0 ± 2.5", "33.7", "failed", "91.8", "93.2", "95.5", "90.9", "79.5"],
        ["spoof", "accuracy", "default", "failed", "", "", *(f"{eer} (eer)" for eer in (2.5, 18.5, 13.5, 13.1, 18.3))],
        ["mine", "eer ↓", "default", "10.0", *[""] * 7],
    ]  # fmt: skip
    assert "arXiv 2303.00733" in " ".join(lines)
    assert lines[-1] == "lt, baseline ngrams: no room; leave it out"


def test_text_marks_winners_counts_verdicts_and_says_where_a_baseline_wins(capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(JUDGED, capsys)
    start = lines.index("test: prompt, baselines, published")
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines[start:] if line.startswith("│")]
    assert [row[3:] for row in rows] == [
        ["55.0*", "20.0", "50.0", "win over ngrams", "+5.0 (+3.0 to +7.0)"],
        ["21.9", "20.0", "50.0*", "loss to ngrams", "-28.1 (-30.1 to -26.1)"],
        ["50.0", "20.0", "50.0", "tie with ngrams", "+0.0 (-2.0 to +2.0)"],
        ["48.0", "20.0", "50.0", "undecided against ngrams", "-2.0 (-4.0 to +0.0)"],
        ["50.0", "20.0", "50.0", "-", ""],
        ["failed", "", "", "-", ""],
    ]
    below = " ".join(lines[start:])
    assert "*: significantly better" in below
    assert COUNTS in below
    assert f"worse*: {LOSS}" in below
    assert "old: no verdict: kept no answers; run the job with --restart" in below


def test_markdown_and_csv_have_the_verdicts() -> None:
    markdown = as_markdown(JUDGED)
    lines = markdown.splitlines()
    assert lines[0] == "| task | metric | recipe | prompt | majority | ngrams | verdict | difference |"
    assert lines[2].startswith("| better | accuracy | default | **55.0** | 20.0 | 50.0 | win over ngrams |")
    assert lines[3].startswith(r"| worse\* | accuracy | default | 21.9 | 20.0 | **50.0** | loss to ngrams |")
    assert COUNTS in markdown.replace("\\", "")
    assert f"worse*: {LOSS}" in markdown.replace("\\", "")
    rows = list(csv.DictReader(io.StringIO(as_csv(JUDGED))))
    assert [row["verdict"] for row in rows] == ["win", "loss", "tie", "undecided", "", ""]
    shown = ("difference", "difference_low", "difference_high", "margin", "p_holm")
    assert [float(rows[0][name]) for name in shown] == pytest.approx([0.05, 0.03, 0.07, 0.03, 0.02])
    assert (rows[0]["verdict_against"], rows[4]["no_verdict"]) == (
        "ngrams",
        "kept no answers; run the job with --restart",
    )
    assert rows[5]["verdict_against"] == ""


def test_without_anything_to_compare_with_there_is_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(JobReport(job="toy", backbone="tiny", tasks=ROWS[2:]), capsys)
    assert "test: prompt" not in "\n".join(lines)


def test_csv_has_shares_and_always_the_same_columns() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(REPORT))))
    assert [row["task"] for row in rows] == ["lt", "spoof", "mine"]
    assert (rows[0]["test"], rows[0]["test_std"], rows[0]["majority"], rows[0]["ngrams"]) == (
        "0.5",
        "0.025",
        "0.337",
        "",
    )
    assert (rows[0]["published_prior"], rows[0]["published_pGSLM+"]) == ("0.918", "0.795")
    assert (rows[1]["published_metric"], rows[1]["error"]) == ("eer", 'a|b, "c"')
    alone = as_csv(JobReport(job="toy", backbone="tiny", tasks=ROWS[2:]))
    assert alone.splitlines()[0] == as_csv(REPORT).splitlines()[0]


def test_markdown_is_a_table_and_names_the_source() -> None:
    named = ROWS[2].model_copy(update={"task": "a|b*c"})
    lines = as_markdown(JobReport(job="toy", backbone="tiny", tasks=[ROWS[0], named])).splitlines()
    assert lines[0] == "| task | metric | recipe | prompt | majority | ngrams | prior | GSLM | GSLM+ | pGSLM | pGSLM+ |"
    assert lines[1].startswith("| --- | --- | --- | ---: |")
    assert lines[2].startswith("| lt | accuracy | paper | 50.0 ± 2.5 | 33.7 | failed | 91.8 |")
    assert lines[3].startswith(r"| a\|b\*c | eer ↓ |")
    assert "arXiv 2303.00733" in lines[-1]
    assert as_markdown(JobReport(job="toy", backbone="tiny", tasks=[named])).count("\n") == 3


@pytest.mark.parametrize("shape", ["csv", "markdown", "json"])
def test_the_command_prints_what_programs_read_and_nothing_else(shape: str, tmp_path: Path) -> None:
    write_report(make_job(str(tmp_path / "runs"), tmp_path), REPORT)
    done = speechprompt("results", str(tmp_path / "job.yaml"), "--format", shape)
    assert (done.code, done.stderr) == (0, "")
    expected = {"csv": as_csv(REPORT), "markdown": as_markdown(REPORT)}
    if shape in expected:
        assert done.stdout == expected[shape]
    else:
        assert JobReport.model_validate_json(done.stdout) == REPORT
        assert speechprompt("results", str(tmp_path / "job.yaml"), "--json").stdout == done.stdout
