"""A job whose stored files are damaged, or whose backbone is replaced, between two submissions or within one."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.recordings.examples import tokenize_tasks
from tests.fixtures.command_line import Finished, speechprompt
from tests.fixtures.local_job import bundles, snapshot
from tests.fixtures.outcomes import stored_outcomes
from tests.fixtures.tiny_job import write_units_task, write_yaml
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import write_backbone
from workers.job_store.files import JOB_FILES

pytestmark = pytest.mark.usefixtures("ray_cluster")

NEVER_READ = re.compile(
    r"spool/.*|(?:tune|alone)[^/]*/(?:[^/]*/)?(?:experiment_state|basic-variant|searcher|tuner|params|result|progress|events|trainable)"
    r".*|.*/\.(?:metadata|tune_metadata|is_checkpoint|validate_storage_marker).*|.*\.lock|.*speechprompt-lock|.*results\.html"
)
"""What Tune writes for itself, and what waits for MLflow."""


@dataclass(frozen=True)
class Refused:
    """A job whose backbone was replaced by another between its plan and its tuning, and is the planned one again.

    Attributes:
        job: its file.
        done: what came of it.
        published: whether it published anything.
    """

    job: Path
    done: Finished
    published: bool


@pytest.fixture(scope="module")
def refused(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Refused:
    root = tmp_path_factory.mktemp("damaged")
    shutil.copyfile(empty_store, root / "mlflow.db")
    backbone = root / "backbone"
    write_backbone(tiny_backbone(), str(backbone))
    for seed, name in enumerate(("first", "second")):
        write_units_task(root / "tasks", name, {"label": 3}, data_seed=seed)
    described = {"backbone": "backbone", "tasks": "tasks/*.yaml", "precision": "fp32", "gang": 1}
    job = write_yaml(root / "job.yaml", {**described, "baselines": "majority"})

    def replacing(*arguments: object) -> object:
        tokenized = tokenize_tasks(*arguments)  # type: ignore[arg-type]
        backbone.rename(root / "planned")
        write_backbone(tiny_backbone(seed=1), str(backbone))
        return tokenized

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.driver.tokenize_tasks", replacing)
        done = run(job)
    backbone.rename(root / "another")
    (root / "planned").rename(backbone)
    return Refused(job, done, (root / "bundles").exists())


@pytest.fixture(scope="module")
def job(refused: Refused) -> Path:
    """The same job; it has run."""
    done = run(refused.job)
    assert done.code == 0, done.stderr
    return refused.job


def run(job: Path, *arguments: str) -> Finished:
    return speechprompt("run", str(job), *arguments)


def test_damaged_prompts_and_bundles_are_made_again_as_they_were(job: Path) -> None:
    published = snapshot(job.parent / "bundles")
    found = bundles(job.parent / "bundles")
    outcomes = stored_outcomes(job.parent / "runs/job/lanes")
    [key] = [outcome.key for outcome in outcomes if outcome.spec.task == "first"]
    prompt = job.parent / "runs/job/lanes" / key / "prompt.safetensors"
    whole = prompt.read_bytes()
    prompt.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    damaged = Path(found["second"].uri, "prompt.safetensors")
    damaged.write_bytes(b"damaged")
    done = run(job)
    assert done.code == 0, done.stderr
    said = f"{prompt} is not the file that lane.json describes; running the job tunes its lane again"
    assert len(re.findall(re.escape(said), done.stderr)) == 1
    assert "resume: 1 of 2 lanes ended before" in done.stderr
    assert prompt.read_bytes() == whole
    said = f"second: {found['second'].uri} was damaged (prompt.safetensors) and is published again"
    assert said in done.stderr
    again = bundles(job.parent / "bundles")
    assert {name: bundle.version for name, bundle in again.items()} == {
        name: bundle.version for name, bundle in found.items()
    }
    after = snapshot(job.parent / "bundles")
    assert after[str(damaged)][1] == published.pop(str(damaged))[1]
    assert {path: after[path] for path in published} == published


def test_every_file_of_a_job_is_in_the_list(job: Path) -> None:
    places = [re.sub(r"<[^>]*>", "[^/]*", kind.place) for kind in JOB_FILES]
    known = re.compile(rf"(?:.*/)?(?:{'|'.join(places)})")
    root = job.parent / "runs"
    left = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    unknown = [name for name in left if not known.fullmatch(name) and not NEVER_READ.search(name.partition("/")[2])]
    assert not unknown
    assert sum(bool(known.fullmatch(name)) for name in left) >= 10


def test_a_backbone_that_is_replaced_between_plan_and_load_does_not_poison_the_job(refused: Refused, job: Path) -> None:
    assert refused.done.code == 2
    said = f"{job.parent / 'backbone'}: was replaced since the job was planned"
    assert said in refused.done.stderr.splitlines()[-1]
    assert "Traceback" not in refused.done.stderr
    assert not refused.published
    for found in bundles(job.parent / "bundles").values():
        assert found.manifest.backbone.unit_lm == tiny_backbone().lm_fingerprint
