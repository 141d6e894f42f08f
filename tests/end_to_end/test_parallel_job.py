"""Tasks that several workers tune together, in a job with others."""

from __future__ import annotations

import pytest

from tests.fixtures.varied_job import Ran, RanAgain
from workers.bundle.read import read, verify
from workers.bundle.signing import TrustedKey

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_two_workers_publish_what_one_does(varied: Ran) -> None:
    job = varied.job
    assert varied.done.code == 1, varied.done.stderr
    row = job.row("together")
    assert row["status"] == "published"
    assert row["test"] > row["majority"] + 0.2
    one, two = (read(job.row(name)["bundle"]) for name in ("alone", "together"))
    for name, tensor in one.tensors.items():
        assert abs(two.tensors[name] - tensor).max() < 1e-4, name
    for ours, theirs in zip(job.outcomes("together"), job.outcomes("alone"), strict=True):
        assert (ours.steps, ours.best_step, ours.stopped) == (theirs.steps, theirs.best_step, theirs.stopped)
        assert ours.figures["test"] == pytest.approx(theirs.figures["test"], abs=1e-4)


def test_the_job_signs_what_it_publishes(varied: Ran) -> None:
    root = varied.job.root
    trusted = TrustedKey.read(str(root / "key.pub"))
    for name in ("alone", "together"):
        verify(varied.job.row(name)["bundle"], trusted=[trusted])
    secret = (root / "key.pem").read_bytes().splitlines()[1]
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "key.pem"]
    assert not [path for path in files if secret in path.read_bytes()]


def test_more_workers_than_there_are_is_a_sentence(varied: Ran) -> None:
    row = varied.job.row("crowd")
    assert row["status"] == "failed"
    assert row["error"].startswith("workers: is 99, but there is room for")


def test_a_second_run_tunes_nothing(varied: Ran, varied_again: RanAgain) -> None:
    assert varied_again.done.code == 1
    assert varied_again.after == varied_again.before
    bundle = varied.job.row("together")["bundle"]
    assert bundle in varied.done.stdout
    verify(bundle)
