"""A job whose stored files are damaged, or whose backbone is replaced, between two submissions or within one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.recordings.examples import tokenize_tasks
from tests.fixtures.command_line import Finished, speechprompt
from tests.fixtures.local_job import bundles, snapshot
from tests.fixtures.tiny_job import write_units_task, write_yaml
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import write_backbone
from workers.job_store.files import JOB_FILES

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]

NEVER_READ = re.compile(
    r"spool/.*|(?:tune|alone)[^/]*/(?:[^/]*/)?(?:experiment_state|basic-variant|searcher|tuner|params|result|progress|events|trainable)"
    r".*|.*/\.(?:metadata|tune_metadata|is_checkpoint|validate_storage_marker).*|.*\.lock|.*speechprompt-lock|.*results\.html"
)
"""What Tune writes for itself, and what waits for MLflow."""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two tasks; it has run."""
    root = tmp_path_factory.mktemp("damaged")
    write_backbone(tiny_backbone(), str(root / "backbone"))
    for seed, name in enumerate(("first", "second")):
        write_units_task(root / "tasks", name, {"label": 3}, data_seed=seed)
    job = write_yaml(
        root / "job.yaml", {"backbone": "backbone", "tasks": "tasks/*.yaml", "precision": "fp32", "gang": 1}
    )
    assert run(job).code == 0
    return job


def run(job: Path, *arguments: str) -> Finished:
    return speechprompt("run", str(job), *arguments)


def test_a_lane_whose_prompt_was_altered_is_tuned_again_to_the_same_bundle(job: Path) -> None:
    published = snapshot(job.parent / "bundles")
    versions = {name: bundle.version for name, bundle in bundles(job.parent / "bundles").items()}
    prompt = min((job.parent / "runs" / "job" / "lanes").glob("*/prompt.safetensors"))
    whole = prompt.read_bytes()
    prompt.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    done = run(job)
    assert done.code == 0, done.stderr
    said = f"{prompt} is not the file that lane.json describes; running the job tunes its lane again"
    assert len(re.findall(re.escape(said), done.stderr)) == 1
    assert "resume: 1 of 2 lanes ended before" in done.stderr
    assert prompt.read_bytes() == whole
    assert {name: bundle.version for name, bundle in bundles(job.parent / "bundles").items()} == versions
    assert snapshot(job.parent / "bundles") == published


def test_every_file_of_a_job_is_in_the_list(job: Path) -> None:
    places = [re.sub(r"<[^>]*>", "[^/]*", kind.place) for kind in JOB_FILES]
    known = re.compile(rf"(?:.*/)?(?:{'|'.join(places)})")
    root = job.parent / "runs"
    left = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    unknown = [name for name in left if not known.fullmatch(name) and not NEVER_READ.search(name.partition("/")[2])]
    assert not unknown
    assert sum(bool(known.fullmatch(name)) for name in left) >= 10


def test_a_backbone_that_is_replaced_between_plan_and_load_does_not_poison_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tmp_path / "backbone"
    write_backbone(tiny_backbone(), str(backbone))
    write_units_task(tmp_path / "tasks", "first", {"label": 3})
    job = write_yaml(tmp_path / "job.yaml", {"backbone": "backbone", "tasks": "tasks/*.yaml", "precision": "fp32"})

    def replacing(*arguments: object) -> object:
        tokenized = tokenize_tasks(*arguments)  # type: ignore[arg-type]
        backbone.rename(tmp_path / "planned")
        write_backbone(tiny_backbone(seed=1), str(backbone))
        return tokenized

    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.driver.tokenize_tasks", replacing)
        done = run(job)
    assert done.code == 2
    assert f"{backbone}: was replaced since the job was planned" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundles").exists()

    backbone.rename(tmp_path / "another")
    (tmp_path / "planned").rename(backbone)
    again = run(job)
    assert again.code == 0, again.stderr
    [found] = bundles(tmp_path / "bundles").values()
    assert found.manifest.backbone.unit_lm == tiny_backbone().lm_fingerprint
