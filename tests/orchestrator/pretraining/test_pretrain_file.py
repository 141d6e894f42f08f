"""Files that describe a backbone to pretrain: defaults, overrides, and what is said about faulty ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import object_storage
from infra.errors import InvalidInputs
from orchestrator.pretraining.file import BorrowedTokenizer, load_pretrain_file
from orchestrator.pretraining.pretraining import _make_tokenizer
from orchestrator.progress import ProgressView
from tests.fixtures.s3_server import S3Server
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import write_backbone
from workers.speech.external import ExternalConfig
from workers.speech.mfcc import MfccConfig
from workers.unit_lm.pgslm.pretraining import PGSLMSection

MINIMAL = "out: backbone\ntasks: tasks/*.yaml\n"


def write(directory: Path, text: str = MINIMAL) -> str:
    (directory / "small.yaml").write_text(text, encoding="utf-8")
    return str(directory / "small.yaml")


def faults(path: str, *overrides: str) -> list[str]:
    """What is wrong with a file, as sentences without the directory."""
    with pytest.raises(InvalidInputs) as caught:
        load_pretrain_file(path, overrides)
    return [str(problem).replace(f"{path.rpartition('/')[0]}/", "") for problem in caught.value.problems]


def test_out_and_tasks_are_enough(tmp_path: Path) -> None:
    described = load_pretrain_file(write(tmp_path))
    assert described.name == "small"
    assert described.out == f"{tmp_path}/backbone"
    assert described.tasks == (f"{tmp_path}/tasks/*.yaml",)
    assert described.storage == f"{tmp_path}/runs"
    assert described.tracking == f"sqlite:///{tmp_path}/mlflow.db"
    assert described.units == f"{tmp_path}/units"
    assert described.tokenizer == MfccConfig()
    assert described.unit_lm.model_dump() == {"kind": "gslm", "layers": 6, "dim": 256, "heads": 4, "ffn_dim": 1024}
    assert described.source == f"{tmp_path}/small.yaml"


def test_every_section_can_be_changed_and_overridden(tmp_path: Path) -> None:
    text = """name: tiny
out: s3://models/tiny
tasks: [tasks/*.yaml, s3://tasks/lt.yaml]
tokenizer: {kind: mfcc, units: 20, keep_every: 1, normalise: mean}
unit_lm: {layers: 2, dim: 16, heads: 2, ffn_dim: 32}
training: {steps: 30, batch_tokens: 256}
licence: CC0-1.0
resources: {workers: 2}
"""
    described = load_pretrain_file(write(tmp_path, text), ["training.steps=40", "unit_lm.layers=3"])
    assert (described.training.steps, described.training.batch_tokens, described.unit_lm.layers) == (40, 256, 3)
    assert described.tokenizer == MfccConfig(units=20, keep_every=1, normalise="mean")
    assert described.tasks == (f"{tmp_path}/tasks/*.yaml", "s3://tasks/lt.yaml")
    assert (described.name, described.resources.workers, described.licence) == ("tiny", 2, "CC0-1.0")


def test_an_external_tokenizer_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "tokenizer: {kind: external, name: hubert-km100, units: 100}\n")
    assert load_pretrain_file(path).tokenizer == ExternalConfig(name="hubert-km100", units=100)


def test_a_tokenizer_may_be_that_of_another_backbone(tmp_path: Path) -> None:
    write_backbone(tiny_backbone(), str(tmp_path / "other"))
    described = load_pretrain_file(write(tmp_path, MINIMAL + "tokenizer: {kind: backbone, uri: other}\n"))
    assert described.tokenizer == BorrowedTokenizer(uri=str(tmp_path / "other"))
    with ProgressView() as view:
        tokenizer = _make_tokenizer(described, [], view)
    assert tokenizer.config() == tiny_backbone().tokenizer.config()
    [fault] = faults(write(tmp_path, MINIMAL + "tokenizer: {kind: backbone}\n"))
    assert fault == "small.yaml:3: tokenizer.uri: is required; add 'uri:'"


def test_a_multistream_lm_has_settings_of_its_own(tmp_path: Path) -> None:
    section = "unit_lm: {kind: pgslm, layers: 2, streams: continuous, prosody: {f0_mean: speaker}}\n"
    unit_lm = load_pretrain_file(write(tmp_path, MINIMAL + section)).unit_lm
    assert isinstance(unit_lm, PGSLMSection)
    assert (unit_lm.streams, unit_lm.f0_bins, unit_lm.prosody.f0_mean) == ("continuous", 32, "speaker")
    wrong = "unit_lm: {kind: pgslm, f0_bin: 8, prosody: {mean: none, tracker: {hop: 1}}}\n"
    assert sorted(faults(write(tmp_path, MINIMAL + wrong))) == [
        "small.yaml:3: unit_lm.f0_bin: is not a known key; did you mean 'f0_bins'?",
        "small.yaml:3: unit_lm.prosody.mean: is not a known key; did you mean 'f0_mean'?",
        "small.yaml:3: unit_lm.prosody.tracker.hop: is not a known key; use one of kind, hop_seconds, frame_length_ms, "
        "nccf_thresh1, tda_frame_length_ms, peak",
    ]
    [fault] = faults(write(tmp_path, MINIMAL + "unit_lm: {kind: opt}\n"))
    assert fault == "small.yaml:3: unit_lm: there is no kind 'opt'; use one of gslm, pgslm"
    [fault] = faults(write(tmp_path, MINIMAL + "unit_lm: {streams: discrete}\n"))
    assert "unit_lm.streams: is not a known key" in fault


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    text = """tasks: []
tokenizer: {kind: mfcc, unit: 20, hop_seconds: 9}
unit_lm: {layers: 2, dim: 20, heads: 4}
training: {stops: 30, learning_rate: -1}
tracking: somewhere
colour: red
"""
    found = faults(write(tmp_path, text), "resources.gpus=many")
    assert found == [
        "small.yaml: out: is required; add 'out:'",
        "small.yaml:1: tasks: has too few entries; give 1 or more",
        "small.yaml:2: tokenizer.hop_seconds: must be at most 1, not the number 9; change the number",
        "small.yaml:2: tokenizer.unit: is not a known key; did you mean 'units'?",
        "small.yaml:3: unit_lm: has dim 20 for 4 heads; make dim a multiple of twice the heads",
        "small.yaml:4: training.learning_rate: must be more than 0, not the number -1; change the number",
        "small.yaml:4: training.stops: is not a known key; did you mean 'steps'?",
        "small.yaml:5: tracking: is not an address that MLflow can track to; "
        "write http://host:port or sqlite:///mlflow.db",
        "command line: resources.gpus: must be a number, not 'many'; write a number",
        "small.yaml:6: colour: is not a known key; use one of name, out, tasks, tokenizer, unit_lm, training, licence, "
        "storage, tracking, units, resources",
    ]


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ("{kind: huburt}", "there is no kind 'huburt'; use one of mfcc, external, backbone"),
        ("{kind: external, units: 100}", ".name: is required; add 'name:'"),
        ("mfcc", "must be a mapping, not 'mfcc'; write kind: and its settings"),
        ("{coefficients: 40}", "coefficients (40) exceed mel_bins (23); correct it"),
    ],
)
def test_a_tokenizer_that_cannot_be(tmp_path: Path, section: str, fault: str) -> None:
    [found] = faults(write(tmp_path, f"{MINIMAL}tokenizer: {section}\n"))
    assert found.startswith("small.yaml:3: tokenizer")
    assert found.endswith(fault)


def test_beside_a_file_in_s3_nothing_is_stored_by_default(s3: S3Server) -> None:
    uri = f"{s3.fresh_prefix()}/small.yaml"
    object_storage.write_bytes(uri, MINIMAL.encode())
    missing = faults(uri)
    assert [fault.split(": ")[1] for fault in missing] == ["storage", "tracking", "units"]
    assert all("has no default for a file in S3; add" in fault for fault in missing)
    places = ["storage=s3://runs/a", "tracking=http://mlflow:5000", "units=s3://cache/units"]
    described = load_pretrain_file(uri, places)
    assert described.out == f"{object_storage.parent(uri)}/backbone"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert len(faults(str(tmp_path / "absent.yaml"))) == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("training: {steps: 1000000000000000000}", "training.steps: must be at most 10,000,000, not a number"),
        ("training: {steps: true}", "training.steps: must be a number, not the truth value true"),
        ("training: {batch_tokens: 1000000000000}", "training.batch_tokens: must be at most 16,777,216"),
        ("training: {learning_rate: .inf}", "training.learning_rate: must be a finite number"),
        ("training: {clip_norm: 1e308}", "training.clip_norm: must be at most 3.40282e+38"),
        ("training: {weight_decay: .nan}", "training.weight_decay: must be a finite number"),
        ("training: {warmup_steps: 1000000000000}", "training.warmup_steps: must be at most 10,000,000"),
        ("training: {patience: 1000000000000}", "training.patience: must be at most 10,000,000"),
        ("training: {seed: 9223372036854775808}", "training.seed: must be less than 9,223,372,036,854,775,808"),
        (
            "unit_lm: {layers: 128, dim: 8192, heads: 64, ffn_dim: 65536}",
            "unit_lm: has 171,798,691,840 parameters, but the limit is 4,000,000,000; lower",
        ),
        ("unit_lm: {kind: pgslm, layers: 128, dim: 8192}", "unit_lm: has 36,507,222,016 parameters"),
        ("unit_lm: {layers: true}", "unit_lm.layers: must be a whole number, not the truth value true"),
        ("tokenizer: {units: 1000000000}", "tokenizer.units: must be at most 32,768"),
    ],
)
def test_every_size_has_an_end(tmp_path: Path, text: str, fault: str) -> None:
    found = faults(write(tmp_path, f"{MINIMAL}{text}\n"))
    assert any(each.startswith(f"small.yaml:3: {fault}") for each in found), found
