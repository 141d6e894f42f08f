"""Stored bundles of every format are read, verified and used, with the answers they gave when they were written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from infra.errors import BackboneError, BundleError
from workers.backbone.description import LM_FILE, TOKENIZER_FILE
from workers.backbone.directory import read_backbone, read_description, write_backbone
from workers.bundle.listing import list_bundles
from workers.bundle.read import read, verify
from workers.inference.classifier import Classifier
from workers.speech.unit_prosody import UnitProsody

FORMATS = Path(__file__).parents[2] / "fixtures" / "formats"
BACKBONE = str(FORMATS / "backbone")


@pytest.mark.parametrize(
    ("name", "number", "backbone"),
    [
        ("first", 1, BACKBONE),
        ("second", 2, BACKBONE),
        ("streams", 2, str(FORMATS / "streams" / "backbone")),
        ("third", 3, BACKBONE),
    ],
)
def test_bundles_give_the_answers_they_gave(name: str, number: int, backbone: str) -> None:
    rows = list_bundles(str(FORMATS / name / "bundles"))
    assert [row.problem for row in rows] == [None, None]
    assert {read(row.uri).manifest.format_version for row in rows} == {number}
    assert all(verify(row.uri).version == row.version for row in rows)
    told = json.loads((FORMATS / name / "answers.json").read_text())
    # By the task, so the pointers are read too.
    tasks = [str(FORMATS / name / "bundles" / row.task) for row in rows]
    classifier = Classifier.from_uris(tasks, backbone)
    units = [np.array(row, np.int16) for row in told["units"]]
    prosody = [
        UnitProsody(np.array(row["durations"], np.int32), np.array(row["f0"], np.float32))
        for row in told.get("prosody", ())
    ]
    for task, wanted in told["answers"].items():
        found = classifier.classify_units(units, [task] * len(units), prosody or None)
        for answers, slots in zip(found, wanted, strict=True):
            assert [answer.slot for answer in answers] == list(slots)
            for answer in answers:
                assert dict(zip(answer.labels, answer.probabilities, strict=True)) == pytest.approx(
                    slots[answer.slot], abs=1e-5
                )


def test_a_backbone_without_digests_is_read_by_its_fingerprints(tmp_path: Path) -> None:
    described = read_description(BACKBONE)
    assert (described.format_version, described.files) == (1, {})
    backbone = read_backbone(BACKBONE)
    # One that is stored is not written again for the sake of a newer format.
    copy = tmp_path / "copy"
    shutil.copytree(BACKBONE, copy)
    before = (copy / "backbone.json").read_bytes()
    write_backbone(backbone, str(copy))
    assert (copy / "backbone.json").read_bytes() == before
    write_backbone(backbone, str(tmp_path / "new"))
    again = read_backbone(str(tmp_path / "new"))
    assert (again.lm_fingerprint, again.tokenizer_fingerprint) == (
        backbone.lm_fingerprint,
        backbone.tokenizer_fingerprint,
    )
    for name in (LM_FILE, TOKENIZER_FILE):
        assert (tmp_path / "new" / name).read_bytes() == (copy / name).read_bytes()


@pytest.mark.parametrize(("file", "part"), [(LM_FILE, "unit_lm"), (TOKENIZER_FILE, "tokenizer")])
def test_damage_in_a_backbone_without_digests_is_seen(tmp_path: Path, file: str, part: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(BACKBONE, copy)
    data = bytearray((copy / file).read_bytes())
    data[-7] ^= 1
    (copy / file).write_bytes(data)
    with pytest.raises(BackboneError, match=f"{part} has fingerprint"):
        read_backbone(str(copy))
    (copy / file).write_bytes(data[:-1])
    with pytest.raises(BackboneError, match=f"{file}: not a safetensors file"):
        read_backbone(str(copy))


def test_altered_bundles_of_earlier_formats_are_refused(tmp_path: Path) -> None:
    for name in ("first", "second", "streams", "third"):
        shutil.copytree(FORMATS / name / "bundles", tmp_path / name)
        for row in list_bundles(str(tmp_path / name)):
            manifest = Path(row.uri) / "bundle.json"
            manifest.write_bytes(manifest.read_bytes().replace(b'"quarantined":1', b'"quarantined":2'))
            with pytest.raises(BundleError, match=f"not {row.version}; it was altered"):
                verify(row.uri)
