"""Imports of original files, after the shared cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fixtures.command_line import Finished, speechprompt
from workers.backbone.directory import Backbone, read_backbone


def _import(case: Path, *options: str) -> Finished:
    files = ("--lm", str(case / "lm.pt"), "--dict", str(case / "dict.txt"))
    return speechprompt("backbone", "import", "--out", str(case / "out"), *files, *options)


def _imported(case: Path) -> Backbone:
    return read_backbone(str(case / "out"))


@pytest.mark.case("66-dict-lacks-a-unit")
def test_a_unit_that_the_dictionary_lacks_is_unknown_to_the_lm(shared_case: Path) -> None:
    done = _import(shared_case, "--tokenizer-name", "u")
    assert done.code == 0, done.stderr
    assert f"note: {shared_case}/dict.txt: unit 13 is not in it" in done.stdout
    lines = [int(line.split()[0]) for line in (shared_case / "dict.txt").read_text().splitlines()]
    wanted = [3 if unit == 13 else 4 + lines.index(unit) for unit in range(20)]
    assert list(_imported(shared_case).unit_tokens) == wanted


@pytest.mark.case("71-checkpoint-of-ddp")
def test_the_prefix_of_ddp_is_taken_off(shared_case: Path) -> None:
    done = _import(shared_case, "--tokenizer-name", "u")
    assert done.code == 0, done.stderr
    assert f"note: {shared_case}/lm.pt: 'module.' of wrappers was taken off the names of its tensors" in done.stdout
    saved = torch.load(shared_case / "lm.pt", weights_only=True)["model"]
    np.testing.assert_array_equal(
        _imported(shared_case).lm_tensors["embed.weight"], saved["module.decoder.embed_tokens.weight"]
    )


@pytest.mark.case("78-kmeans-of-another-layer")
def test_a_kmeans_of_another_layer_is_refused(shared_case: Path) -> None:
    kmeans = shared_case / "hubert_base_ls960_L9_km20.bin"
    options = ("--hubert", str(shared_case / "hubert.pt"), "--kmeans", str(kmeans))
    done = _import(shared_case, *options)
    assert done.code == 2
    assert done.stderr.startswith(f"error: {kmeans}: its name says layer 9, but --layer is 6 where it is not given; ")
    assert not (shared_case / "out").exists()
    renamed = kmeans.rename(shared_case / "km.bin")
    done = _import(shared_case, *options[:-1], str(renamed), "--layer", "1")
    assert done.code == 0, done.stderr
    assert "note:" not in done.stdout
