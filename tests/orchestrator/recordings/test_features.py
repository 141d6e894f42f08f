"""Features of recordings, beside their units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.job import load_job
from orchestrator.plan import Plan, PlannedTask
from orchestrator.progress import ProgressView
from orchestrator.recordings.examples import encode, tokenize_tasks
from orchestrator.recordings.features import task_features
from task_specs.dataset import read_dataset
from task_specs.example import SPLITS
from task_specs.schema import load_task_spec
from tests.fixtures.tiny_job import write_tones, write_units_task
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import read_description, write_backbone
from workers.baselines.encoder import read_features
from workers.speech.mfcc import MfccTokenizer
from workers.speech.reading import read_audio
from workers.speech.tokenize_batch import load_clip

pytestmark = pytest.mark.usefixtures("ray_cluster")


def planned(root: Path, baselines: str) -> Plan:
    """A job of a task of recordings and one of units."""
    tasks = [write_tones(root / "tasks"), write_units_task(root / "tasks", "orders", {"label": 2})]
    write_backbone(tiny_backbone(), str(root / "backbone"))
    job = root / "job.yaml"
    job.write_text(f"backbone: backbone\ntasks: tasks/*.yaml\nbaselines: {baselines}\n", encoding="utf-8")
    specs = [spec for file in tasks if (spec := load_task_spec(str(file))[0]) is not None]
    found = tuple(PlannedTask(spec, read_dataset(spec)) for spec in specs)
    return Plan(load_job(str(job)), read_description(str(root / "backbone")), found)


def test_recordings_have_features_in_the_order_of_their_examples(tmp_path: Path) -> None:
    plan, view = planned(tmp_path, "[encoder]"), ProgressView()
    tokenized = tokenize_tasks(plan, view)
    features = task_features(plan, tokenized, view)
    assert features.keys() == {"tones"}, "units have none"
    found = read_features(features["tones"], "tones")
    tones, tokenizer = plan.tasks[0], tiny_backbone().tokenizer
    assert isinstance(tokenizer, MfccTokenizer)
    encoded = encode(tones.spec, tones.dataset, tokenized.units)
    assert encoded.quarantined == 1
    for split in SPLITS:
        assert len(found[split]) == encoded.examples.splits[split].examples
    clips = [example.clip for example in tones.dataset.examples if example.split == "test"]
    waves = [
        load_clip(read_audio(clip.uri), clip, sample_rate=tokenizer.sample_rate, policy=tones.spec.audio)
        for clip in clips
        if clip is not None
    ]
    np.testing.assert_allclose(found["test"], np.stack(tokenizer.mean_features(waves)), rtol=1e-5, atol=1e-5)
    shards = sorted(path.name for path in (tmp_path / "units").glob("*-features/*"))
    assert shards
    assert task_features(plan, tokenized, view) == features
    assert sorted(path.name for path in (tmp_path / "units").glob("*-features/*")) == shards


def test_no_features_are_computed_that_no_baseline_needs(tmp_path: Path) -> None:
    plan, view = planned(tmp_path, "[majority, ngrams]"), ProgressView()
    assert task_features(plan, tokenize_tasks(plan, view), view) == {}
    assert not list((tmp_path / "units").glob("*-features"))
