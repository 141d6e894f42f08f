"""Whatever a manifest says and vouches for: ``bundle verify`` and the classifier give the same verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from infra.errors import BundleError
from tests.fixtures.mutations import one_thing_wrong
from workers.backbone.directory import Backbone, read_backbone
from workers.bundle.manifest import MANIFEST_FILE
from workers.bundle.read import read, verify
from workers.inference.classifier import Classifier

FORMATS = Path(__file__).parents[2] / "fixtures" / "formats"
BUNDLES = {
    "first": ("backbone", "first/bundles/random-task"),
    "second": ("backbone", "second/bundles/linear-task"),
    "streams": ("streams/backbone", "streams/bundles/none-task"),
    "third": ("backbone", "third/bundles/random-task"),
}
BEFORE_THE_THIRD = ("first", "second", "streams")
SAYS_HOW_TO_READ = ("calibration", "inference", "preprocessing", "prompt", "recipe", "slots")
"""Sections that say what becomes of a recording; the others are of where it came from, or of the backbone."""
ODD: dict[str, Any] = {
    "audio is a list": {"preprocessing": {"audio": [1]}},
    "unknown audio setting": {"preprocessing": {"audio": {"min_seconds": 0.1, "loudness": 1}}},
    "shortest above longest": {"preprocessing": {"audio": {"min_seconds": 3.0, "max_seconds": 2.0}}},
    "unknown way with long recordings": {"preprocessing": {"audio": {"too_long": "stretch"}}},
    "length as text": {"preprocessing": {"audio": {"max_seconds": "30"}}},
    "unknown separator prosody": {"recipe": {"separator_prosody": "first"}},
    "separator prosody is a truth value": {"recipe": {"separator_prosody": True}},
}


@cache
def backbone(name: str) -> Backbone:
    return read_backbone(str(FORMATS / name))


def _whole(name: str) -> Path:
    [directory] = (path for path in (FORMATS / name).iterdir() if path.is_dir())
    return directory


def _store(directory: Path, whole: Path, document: Any) -> str:
    """The bundle with another manifest that vouches for its files, in a directory that is called as no version is."""
    directory.mkdir(exist_ok=True)
    for file in whole.iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    (directory / MANIFEST_FILE).write_text(json.dumps(document))
    return str(directory)


def _verdicts(uri: str, of: str) -> tuple[str, str]:
    """What ``verify`` and the classifier say of a bundle; empty where they take it."""
    try:
        verify(uri)
        verified = ""
    except BundleError as error:
        verified = str(error)
    try:
        Classifier([read(uri)], backbone(of))
        taken = ""
    except BundleError as error:
        taken = str(error)
    return verified, taken


@pytest.mark.parametrize("name", BEFORE_THE_THIRD)
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_what_is_not_usable_is_not_verified(tmp_path: Path, name: str, odd: dict[str, Any]) -> None:
    of, place = BUNDLES[name]
    document = json.loads((_whole(place) / MANIFEST_FILE).read_text())
    verified, taken = _verdicts(_store(tmp_path / "odd", _whole(place), document | odd), of)
    assert verified == taken != ""
    [section] = odd
    assert section in verified


def _damaged(document: Any) -> Iterator[tuple[Any, Any]]:
    for steps, changed in one_thing_wrong({name: document[name] for name in SAYS_HOW_TO_READ if name in document}):
        # How much of the vocabulary is read is compared with the backbone, which only the classifier has.
        if steps[:2] != ("prompt", "vocabulary"):
            yield steps, document | changed
    for name in SAYS_HOW_TO_READ:
        yield (name, "dropped"), {key: value for key, value in document.items() if key != name}


@pytest.mark.parametrize("name", BUNDLES)
def test_one_thing_wrong_gets_one_verdict(tmp_path: Path, name: str) -> None:
    of, place = BUNDLES[name]
    document = json.loads((_whole(place) / MANIFEST_FILE).read_text())
    refused = 0
    for steps, changed in _damaged(document):
        verified, taken = _verdicts(_store(tmp_path / "damaged", _whole(place), changed), of)
        assert verified == taken, steps
        refused += bool(taken)
    assert refused > 100
