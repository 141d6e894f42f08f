"""Published results beside a task's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from task_specs.published import SYSTEMS, published_figures
from task_specs.schema import load_task_spec


def test_every_figure_is_a_share_and_the_source_is_named() -> None:
    published = published_figures()
    assert "arXiv 2303.00733" in published.source
    assert len(published.tasks) == 17
    for name, result in published.tasks.items():
        assert result.figures, name
        assert list(result.figures) == [system for system in SYSTEMS if system in result.figures], name
        assert all(0 <= figure <= 1 for figure in result.figures.values()), name


def test_some_figures_as_the_paper_has_them() -> None:
    tasks = published_figures().tasks
    assert tasks["lithuanian-speech-commands"].figures == {
        "prior": 0.918, "GSLM": 0.932, "GSLM+": 0.955, "pGSLM": 0.909, "pGSLM+": 0.795,
    }  # fmt: skip
    assert tasks["asvspoof2019-la"].metric == "eer"
    assert "prior" not in tasks["easycall"].figures


@pytest.mark.parametrize(
    ("fields", "dataset"),
    [
        ("name: esc50", "ESC-50"),
        ("name: esc50\npublished: voxforge", "VoxForge language identification"),
        ("name: mine\npublished: grabo", "Grabo"),
        ("name: mine", None),
    ],
)
def test_results_are_found_by_name_or_as_the_spec_says(fields: str, dataset: str | None, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(f"{fields}\ndata: {{path: rows.csv}}\n", encoding="utf-8")
    spec, problems = load_task_spec(str(tmp_path / "task.yaml"))
    assert (problems, spec is not None) == ([], True)
    assert spec is not None
    result = spec.published_result
    assert (result and result.dataset) == dataset


def test_results_that_nobody_published_are_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text("name: mine\npublished: lithuanian-command\ndata: {path: rows.csv}\n", encoding="utf-8")
    _, [problem] = load_task_spec(str(file))
    assert str(problem).endswith(
        "published: names 'lithuanian-command', which has no published results here; "
        "did you mean 'lithuanian-speech-commands'?"
    )
