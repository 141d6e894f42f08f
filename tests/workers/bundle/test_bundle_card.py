from __future__ import annotations

from datetime import UTC, datetime

import yaml

from task_specs.audio_policy import AudioPolicy
from tests.fixtures.bundles import random_bundle
from workers.bundle.card import card
from workers.bundle.manifest import Calibration, Metric, Spread


def test_says_what_a_finder_needs() -> None:
    manifest = random_bundle(slots={"action": ["on", "off"], "object": ["lamp", "heat"]}).manifest
    text = card(manifest)
    front = yaml.safe_load(text.split("---")[1])
    assert front == {"library_name": "speechprompt", "pipeline_tag": "audio-classification", "language": "lt"}
    for part in ("# toy-task", "**action** (2): on, off", "**object** (2): lamp, heat", "classify --bundle"):
        assert part in text
    assert manifest.backbone.unit_lm in text
    assert manifest.backbone.tokenizer in text
    assert f"| test | accuracy | {manifest.results['test']['accuracy'].value:.4f} |" in text


def test_does_not_depend_on_provenance_and_files() -> None:
    manifest = random_bundle().manifest
    other = random_bundle(created=datetime(2030, 1, 1, tzinfo=UTC), run_id="x").manifest
    assert card(manifest) == card(other) == card(manifest.with_files([("README.md", b"")]))


def test_says_how_sure_the_figures_and_the_probabilities_are() -> None:
    made = random_bundle().manifest
    test = {"eer": Spread(value=0.1, mean=0.12, std=0.01, seeds=3, interval=(0.08, 0.13))}
    changes = {
        "metric": Metric(name="eer", positive="yes"),
        "results": {"test": test},
        "calibration": Calibration(temperatures=(1.5,)),
    }
    text = card(made.model_copy(update=changes))
    assert "| test | eer | 0.1000 | 0.0800 to 0.1300 | 0.1200 ± 0.0100 | 3 |" in text
    assert "of which yes is the positive class" in text
    assert "1.5 (label)" in text
    assert "15 bins" in text
    assert "temperature" not in card(made)


def test_says_which_data_were_used() -> None:
    made = random_bundle(audio=AudioPolicy(max_seconds=20, too_long="window")).manifest
    data = made.data.model_copy(update={"long": 1200, "shots": 8})
    text = card(made.model_copy(update={"data": data}))
    assert "10 test; training examples are 8 of each class, drawn with the seed; 1 quarantined; " in text
    assert "; 1,200 cut into windows of 20 s; digest" in text
    assert "resampled to 16,000 Hz; those below 0.1 s are refused, those above 20 s cut into windows" in text


def test_labels_cannot_draw_markdown() -> None:
    text = card(random_bundle(slots={"label": ["a|b", "<script>", "[x](http://y)", "`c`", "# d"]}).manifest)
    assert "a\\|b, \\<script\\>, \\[x\\](http\\://y), \\`c\\`, # d" in text


def test_many_labels_are_cut() -> None:
    text = card(random_bundle(slots={"label": [f"w{index}" for index in range(130)]}, vocabulary=200).manifest)
    assert "w99, and 30 more" in text
    assert "w100" not in text


def test_a_label_is_text_whatever_it_holds() -> None:
    text = card(random_bundle(slots={"label": ["no\u202e", "no\u200b"]}).manifest)
    assert r"no\\u202e, no\\u200b" in text
