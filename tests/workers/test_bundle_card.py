from __future__ import annotations

from datetime import UTC, datetime

import yaml

from tests.fixtures.bundles import random_bundle
from workers.bundle.card import card


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


def test_labels_cannot_draw_markdown() -> None:
    text = card(random_bundle(slots={"label": ["a|b", "<script>", "[x](http://y)", "`c`", "# d"]}).manifest)
    assert "a\\|b, \\<script\\>, \\[x\\](http://y), \\`c\\`, # d" in text


def test_many_labels_are_cut() -> None:
    text = card(random_bundle(slots={"label": [f"w{index}" for index in range(130)]}, vocabulary=200).manifest)
    assert "w99, and 30 more" in text
    assert "w100" not in text
