"""Tasks that several workers tune together, in a job with others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.signing_key import SIGNING_KEY
from tests.fixtures.command_line import Finished, speechprompt
from tests.fixtures.outcomes import stored_outcomes
from tests.fixtures.tiny_job import write_units_task, write_yaml
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import write_backbone
from workers.bundle.read import read, verify
from workers.bundle.signing import TrustedKey, new_key_pair
from workers.tuning.results.outcome import LaneOutcome

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]


class Workplace:
    """The same task for one worker and for two, and one for more than there are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_backbone(tiny_backbone(), str(root / "backbone"))
        for name, workers in (("alone", 1), ("together", 2), ("crowd", 99)):
            write_units_task(root / "tasks", name, {"label": 3}, seeds=2, workers=workers, recipe={"batch_size": 100})
        job = {"backbone": "backbone", "tasks": "tasks/*.yaml", "precision": "fp32", "gang": 2}
        write_yaml(root / "job.yaml", job)

    def run(self, *arguments: str) -> Finished:
        return speechprompt("run", str(self.root / "job.yaml"), *arguments)

    def rows(self) -> dict[str, dict[str, Any]]:
        done = speechprompt("results", str(self.root / "job.yaml"), "--json")
        return {row["task"]: row for row in json.loads(done.stdout)["tasks"]}

    def outcomes(self, task: str) -> list[LaneOutcome]:
        found = stored_outcomes(self.root / "runs/job/lanes")
        return sorted((one for one in found if one.spec.task == task), key=lambda one: one.spec.seed)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("parallel"))


@pytest.fixture(scope="module")
def first(workplace: Workplace) -> Finished:
    new_key_pair(workplace.root / "key.pem")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SIGNING_KEY, str(workplace.root / "key.pem"))
        return workplace.run()


def test_two_workers_publish_what_one_does(workplace: Workplace, first: Finished) -> None:
    assert first.code == 1, first.stderr
    rows = workplace.rows()
    assert rows["together"]["status"] == "published"
    assert rows["together"]["test"] > rows["together"]["majority"] + 0.2
    one, two = (read(rows[name]["bundle"]) for name in ("alone", "together"))
    for name, tensor in one.tensors.items():
        assert abs(two.tensors[name] - tensor).max() < 1e-4, name
    for ours, theirs in zip(workplace.outcomes("together"), workplace.outcomes("alone"), strict=True):
        assert (ours.steps, ours.best_step, ours.stopped) == (theirs.steps, theirs.best_step, theirs.stopped)
        assert ours.figures["test"] == pytest.approx(theirs.figures["test"], abs=1e-4)


@pytest.mark.usefixtures("first")
def test_the_job_signs_what_it_publishes(workplace: Workplace) -> None:
    trusted = TrustedKey.read(str(workplace.root / "key.pub"))
    for name in ("alone", "together"):
        verify(workplace.rows()[name]["bundle"], trusted=[trusted])
    secret = (workplace.root / "key.pem").read_bytes().splitlines()[1]
    files = [path for path in workplace.root.rglob("*") if path.is_file() and path.name != "key.pem"]
    assert not [path for path in files if secret in path.read_bytes()]


@pytest.mark.usefixtures("first")
def test_more_workers_than_there_are_is_a_sentence(workplace: Workplace) -> None:
    row = workplace.rows()["crowd"]
    assert row["status"] == "failed"
    assert row["error"].startswith("workers: is 99, but there is room for")


@pytest.mark.usefixtures("first")
def test_a_second_run_tunes_nothing(workplace: Workplace) -> None:
    before = verify(workplace.rows()["together"]["bundle"]).manifest.version
    kept = {path: path.stat().st_mtime_ns for path in workplace.root.glob("runs/job/lanes/*/*")}
    assert workplace.run().code == 1
    assert {path: path.stat().st_mtime_ns for path in workplace.root.glob("runs/job/lanes/*/*")} == kept
    assert verify(workplace.rows()["together"]["bundle"]).manifest.version == before
