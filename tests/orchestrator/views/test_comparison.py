"""Prompts beside baselines and published figures, as text, CSV and Markdown."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from orchestrator.progress import results_console
from orchestrator.report import BaselineFigures, JobReport, TaskRow, write_report
from orchestrator.views.tables import as_csv, as_markdown, results_text
from task_specs.published import SYSTEMS, published_figures
from tests.fixtures.command_line import speechprompt
from tests.orchestrator.test_report import make_job

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
