"""A bundle that is taken elsewhere with its backbone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.command_line import speechprompt
from tests.fixtures.random_classifier import backbone, bundle
from tests.fixtures.tones import babble, write_audio
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.beside import backbone_beside, place_beside, pull_backbone
from workers.backbone.directory import read_backbone, write_backbone
from workers.bundle.format import Bundle
from workers.bundle.publish import publish
from workers.inference.classifier import Classifier


def from_home(task: str, home: Path) -> Bundle:
    """A bundle that says where its backbone is."""
    made = bundle(task)
    provenance = made.manifest.provenance.model_copy(update={"backbone_uri": str(home / "backbone")})
    return replace(made, manifest=made.manifest.model_copy(update={"provenance": provenance}))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Bundles of two tasks and their backbone, below the working directory."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "home"
    write_backbone(backbone(), str(place / "backbone"))
    for task in ("one", "two"):
        publish(str(place / "bundles"), from_home(task, place))
    return place


def test_bundles_answer_where_they_were_taken_to(home: Path, tmp_path: Path) -> None:
    for task in ("one", "two"):
        done = speechprompt("bundle", "pull", f"home/bundles/{task}", "away", "--with-backbone", "--json")
        assert done.code == 0, done.stderr
    place = Path(json.loads(done.stdout)["backbone"])
    assert [str(each) for each in (tmp_path / "away/backbones").iterdir()] == [str(place)]
    wave = write_audio(tmp_path / "good.wav", babble(1, 0.6))
    before = Classifier.from_uris([home / "bundles/one"]).classify_audio([wave])
    shutil.rmtree(home)
    shutil.move(tmp_path / "away", tmp_path / "further")
    assert Classifier.from_uris([tmp_path / "further/one"]).classify_audio([wave]) == before
    done = speechprompt("classify", "--bundle", "further", "--task", "one", "--task", "two", "--json", "good.wav")
    assert done.code == 0, done.stderr
    listed = speechprompt("bundle", "list", "further")
    assert (listed.code, listed.stderr) == (0, "")


def test_what_lies_beside_is_found_by_all_of_its_fingerprints_only(home: Path, tmp_path: Path) -> None:
    speechprompt("bundle", "pull", "home/bundles/one", "away", "--with-backbone")
    prints = {"unit_lm": backbone().lm_fingerprint, "tokenizer": backbone().tokenizer_fingerprint}
    place = place_beside(str(tmp_path / "away"), **prints)
    assert backbone_beside(str(tmp_path / "away/one"), **prints) == place
    assert backbone_beside(str(tmp_path / "away/one"), unit_lm="0" * 64, tokenizer=prints["tokenizer"]) is None
    assert backbone_beside(str(home / "bundles/one"), **prints) is None
    # Another one in its place is noticed, whatever its directory is called.
    shutil.rmtree(place)
    write_backbone(tiny_backbone(seed=1), place)
    done = speechprompt("classify", "--bundle", "away/one", "good.wav")
    assert done.code == 2
    assert "was tuned on another unit LM" in done.stderr


def test_a_bundle_that_does_not_say_where_its_backbone_is(home: Path, tmp_path: Path) -> None:
    publish(str(home / "bundles"), bundle("lost"))
    done = speechprompt("bundle", "pull", "home/bundles/lost", "away", "--with-backbone")
    assert done.code == 2
    assert "does not say where its backbone is; copy it with 'speechprompt backbone pull'" in done.stderr
    done = speechprompt("backbone", "pull", "home/backbone", "away")
    assert done.code == 0, done.stderr
    assert read_backbone(done.stdout.strip()).lm_fingerprint == backbone().lm_fingerprint
    assert pull_backbone(str(home / "backbone"), str(tmp_path / "away")) == done.stdout.strip()
    refused = speechprompt("classify", "--bundle", "away/lost", "absent.wav")
    assert refused.stderr.endswith("absent.wav does not exist; check the path\n")
