"""A job that is interrupted and killed, beside the same job left in peace."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.command_line import speechprompt, speechprompt_process
from tests.fixtures.local_job import LONG, ToyJob, bundles, snapshot
from tests.fixtures.tiny_job import write_yaml
from workers.bundle.read import read

pytestmark = pytest.mark.usefixtures("ray_cluster")


def checkpoints(runs: Path) -> list[Path]:
    """Stored checkpoints of task ``orders`` that are whole, oldest first."""
    return sorted(file.parent for file in runs.glob("tune-*/*orders*/checkpoint_*/checkpoint.json"))


def kept_steps(runs: Path) -> int:
    """Optimizer steps of all lanes of task ``orders`` in their newest checkpoint."""
    kept = json.loads((checkpoints(runs)[-1] / "lanes.json").read_text(encoding="utf-8"))
    return sum(lane["progress"]["step"] for lane in kept.values())


def is_refused(job: Path) -> None:
    """The same job cannot be run beside itself."""
    done = speechprompt("run", str(job))
    assert (done.code, "this job is being run by process" in done.stderr) == (2, True), done.stderr


def end_by(
    number: signal.Signals, job: Path, checkpoint: int, meanwhile: Callable[[Path], None] | None = None
) -> tuple[int, str]:
    """Run a job and send it a signal as soon as it has written a checkpoint of this number or a later one.

    Returns:
        Its exit code, and what it said.
    """

    def written() -> bool:
        found = checkpoints(job.parent / "runs" / job.stem)
        return bool(found) and int(found[-1].name.split("_")[1]) >= checkpoint

    with speechprompt_process("run", str(job), until=written) as process:
        if meanwhile is not None:
            meanwhile(job)
        process.send_signal(number)
        _, said = process.communicate(timeout=600)
    return process.returncode, said


@pytest.mark.usefixtures("first_run")
def test_a_killed_job_goes_on_and_gives_the_bundles_of_one_that_was_not(
    toy_job: ToyJob, empty_store: Path, tmp_path: Path
) -> None:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    tasks = [str(toy_job.root / "tasks" / f"{name}.yaml") for name in ("orders", "tones")]
    backbone = str(toy_job.root / "backbone")
    described = {
        "backbone": backbone,
        "tasks": tasks,
        # Of the other job, so that tuning begins at once.
        "units": str(toy_job.root / "units"),
        "resources": {"workers": 1},
        "gang": 2,
        "baselines": "majority",
    }
    job = write_yaml(tmp_path / "killed.yaml", described)
    runs = tmp_path / "runs" / "killed"
    code, said = end_by(signal.SIGTERM, job, 3, is_refused)
    assert (code, said.splitlines()[-1]) == (3, "interrupted; submit the job again and it goes on")
    assert "Traceback" not in said
    statuses = {run.info.run_name.split()[0]: run.info.status for run in ToyJob(tmp_path).runs("killed")}
    assert statuses["submission"] == statuses["orders"] == "KILLED"
    saved = kept_steps(runs)
    # Before Tune can have noted a checkpoint of its own.
    code, said = end_by(signal.SIGKILL, job, int(checkpoints(runs)[-1].name.split("_")[1]) + 1)
    assert code == -signal.SIGKILL, said
    assert not (tmp_path / "bundles").exists()
    steps = kept_steps(runs)
    assert 0 < saved < steps < 2 * LONG["steps"]

    done = speechprompt("run", str(job))
    assert done.code == 0, done.stderr
    begun = re.search(r"tuning: (\d+)/\d+", done.stderr)
    assert begun
    # The first evaluation after the restart follows the checkpoint, and not the beginning.
    assert int(begun[1]) > steps
    # Begun anew in the same gangs, since other neighbours mean other rounding.
    resumed, place = tmp_path / "resumed", tmp_path / "bundles"
    shutil.copytree(place, resumed)
    shutil.rmtree(place / "orders")
    kept = snapshot(place)
    restarted = speechprompt("run", str(job), "--restart")
    assert restarted.code == 0, restarted.stderr
    assert "restart: every lane starts from its first step (attempt 2); published bundles stay" in restarted.stderr
    after, expected = snapshot(place), bundles(place)
    assert {path: after[path] for path in kept} == kept
    again = bundles(resumed)
    assert {name: bundle.version for name, bundle in again.items()} == {
        name: bundle.version for name, bundle in expected.items()
    }
    for name, bundle in again.items():
        tensors = read(bundle.uri).tensors
        for tensor_name, tensor in read(expected[name].uri).tensors.items():
            assert tensors[tensor_name].tobytes() == tensor.tobytes()
    lanes = [run for run in ToyJob(tmp_path).runs("killed") if "speechprompt.kind" not in run.data.tags]
    assert sorted((run.info.run_name, run.info.status) for run in lanes) == [
        (name, "FINISHED") for name in ("orders s0", "orders s1", "tones s0") for _ in range(2)
    ]
