"""Tables as others write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from task_specs.dataset import read_dataset
from task_specs.schema import load_task_spec
from task_specs.table_audio import read_recording
from tests.fixtures.command_line import speechprompt


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.case(name))
        for name in ("20-semicolon-csv", "22-excel-blank-columns-and-rows", "33-hugging-face-parquet")
    ],
)
def test_a_plan_reads_the_table(shared_case: Path, name: str) -> None:  # noqa: ARG001 (of the fixture)
    plan = speechprompt("plan", str(shared_case / "job.yaml"))
    assert plan.code == 0, plan.stderr
    assert "8/4/4" in plan.stdout


@pytest.mark.case("33-hugging-face-parquet")
def test_recordings_are_those_of_the_table(shared_case: Path) -> None:
    spec, _ = load_task_spec(str(shared_case / "task.yaml"))
    assert spec is not None
    files = sorted((shared_case / "audio").iterdir(), key=lambda file: file.stem[1:])
    clips = [example.clip for example in read_dataset(spec).examples]
    assert len(clips) == len(files) == 16
    for clip, file in zip(clips, files, strict=True):
        assert clip is not None
        assert read_recording(clip.uri) == file.read_bytes()
