"""A job on a multi-stream LM: durations and F0 go from the recordings to the prompt, and to whoever uses its bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fixtures.command_line import speechprompt
from tests.fixtures.pretrain_here import pretrain_here
from tests.fixtures.tiny_job import CLIPS, write_task, write_units_task, write_yaml
from tests.fixtures.tones import write_audio
from tests.fixtures.tuning import UNITS
from workers.backbone.directory import read_backbone
from workers.bundle.read import find
from workers.inference.classifier import Classifier
from workers.unit_lm.pgslm.config import PGSLMConfig

pytestmark = pytest.mark.usefixtures("ray_cluster")

RATE = 16_000


def voice(hertz: float, glide: float, seconds: float) -> NDArray[np.float32]:
    """Harmonics of a pitch that moves by ``glide`` octaves, with the same spectral envelope all the time."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(hertz * 2 ** (glide * time / seconds)) / RATE
    wave = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 12))
    return (0.1 * np.asarray(wave)).astype(np.float32)


def write_melodies(tasks: Path) -> None:
    """Rising and falling voices: what tells them apart is the pitch, which units alone hardly know."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for split, count in CLIPS.items():
        for label, glide in {"rises": 0.5, "falls": -0.5}.items():
            for number in range(count):
                file = f"audio/{split}-{label}-{number}.wav"
                write_audio(tasks / file, voice(rng.uniform(110, 220), glide, rng.uniform(0.4, 0.6)))
                rows.append({"path": file, "label": label, "split": split, "speaker": f"{split}{number % 3}"})
    recipe = {"steps": 150, "evaluate_every": 50}
    write_task(tasks, "melodies", rows, family="ER", recipe=recipe)


@pytest.fixture(scope="module")
def workplace(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("melodies")
    shutil.copyfile(empty_store, root / "mlflow.db")
    write_melodies(root / "tasks")
    write_units_task(root / "tasks", "orders", {"label": 2})
    write_yaml(
        root / "backbone.yaml",
        {
            "name": "melodious",
            "out": "backbone",
            "tasks": "tasks/*.yaml",
            "tokenizer": {"kind": "mfcc", "units": UNITS},
            "unit_lm": {"kind": "pgslm", "layers": 2, "dim": 32, "heads": 2, "ffn_dim": 48, "f0_bins": 8},
            "training": {"steps": 60, "batch_tokens": 256, "warmup_steps": 5, "evaluate_every": 30},
        },
    )
    job = {"name": "melodies", "backbone": "backbone", "tasks": "tasks/*.yaml", "resources": {"workers": 1}, "gang": 2}
    write_yaml(root / "job.yaml", {**job, "baselines": "majority"})
    with pytest.MonkeyPatch.context() as patch:
        pretrain_here(patch, root)
        made = speechprompt("backbone", "pretrain", str(root / "backbone.yaml"))
    assert made.code == 0, made.stderr
    done = speechprompt("run", str(root / "job.yaml"))
    assert done.code == 0, done.stderr
    return root


def test_the_backbone_has_streams_and_bins(workplace: Path) -> None:
    config = read_backbone(str(workplace / "backbone")).config
    assert isinstance(config, PGSLMConfig)
    assert (config.bos, config.pad, config.eos, config.vocabulary) == (UNITS, UNITS + 1, UNITS + 2, UNITS + 4)
    assert len(config.f0_edges) == 7
    assert min(config.f0_edges) < 0 < max(config.f0_edges), "relative to the mean of each utterance"
    shown = json.loads(speechprompt("backbone", "inspect", str(workplace / "backbone"), "--json").stdout)
    assert shown["unit_lm"] == "pgslm"


def test_what_only_pitch_tells_is_learnt(workplace: Path) -> None:
    report = json.loads(speechprompt("results", str(workplace / "job.yaml"), "--json").stdout)
    rows = {row["task"]: row for row in report["tasks"]}
    assert rows["melodies"]["test"] >= 0.9
    assert rows["orders"]["status"] == "published"


def test_the_bundle_classifies_recordings_as_the_job_did(workplace: Path) -> None:
    audio = sorted((workplace / "tasks/audio").glob("test-*.wav"))
    done = speechprompt("classify", "--bundle", str(workplace / "bundles/melodies"), "--json", *map(str, audio))
    assert (done.code, done.stderr) == (0, "")
    answers = [json.loads(line)["labels"]["melodies"]["label"][0]["label"] for line in done.stdout.splitlines()]
    right = [answer == path.name.split("-")[1] for answer, path in zip(answers, audio, strict=True)]
    assert np.mean(right) == find(str(workplace / "bundles/melodies")).manifest.results["test"]["accuracy"].value


def test_a_recording_is_heard_by_its_pitch(workplace: Path) -> None:
    classifier = Classifier.from_uris([str(workplace / "bundles/melodies")])
    rising, falling = (str(workplace / f"tasks/audio/test-{label}-0.wav") for label in ("rises", "falls"))
    together = classifier.classify_audio([rising, falling])
    for recording, answers in zip((rising, falling), together, strict=True):
        [alone] = classifier.classify_audio([recording])
        assert alone[0].labels == answers[0].labels
        assert alone[0].probabilities == pytest.approx(answers[0].probabilities, abs=1e-5)


def test_plan_says_what_a_multistream_lm_cannot_hear(workplace: Path) -> None:
    shown = speechprompt("plan", str(workplace / "job.yaml"))
    assert shown.code == 0, shown.stderr
    assert "pgslm 2 x 32" in shown.stdout
    assert "orders: units without recordings, so this pgslm reads no pitch" in shown.stdout
