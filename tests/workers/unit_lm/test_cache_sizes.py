"""Sizes of torch's caches, as the environment sets them and as torch survives them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

import workers

COMPUTE = """
import torch
from workers.unit_lm.engine.frozen_linear import product
print(product(torch.ones(3, 4), torch.ones(5, 4)).sum().item())
"""


@pytest.mark.parametrize(
    ("said", "used"),
    [
        (None, "64"),
        ("1000", "1000"),
        (" +7 ", " +7 "),
        # Torch would drop the entry that it uses.
        ("0", "1"),
        ("-0", "1"),
        ("000", "1"),
        # Torch reads these as 0.
        ("", "64"),
        ("many", "64"),
        ("0x40", "64"),
        ("4294967296", "64"),
        ("٣", "64"),
        # And this as a cache without an end.
        ("-1", "64"),
    ],
)
def test_a_size_that_torch_would_die_of_is_another(
    said: str | None, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LRU_CACHE_CAPACITY", said or "")
    if said is None:
        monkeypatch.delenv("LRU_CACHE_CAPACITY")
    importlib.reload(workers)
    assert os.environ["LRU_CACHE_CAPACITY"] == used


def test_a_process_with_no_cache_computes() -> None:
    environment = {**os.environ, "LRU_CACHE_CAPACITY": "0"}
    done = subprocess.run(
        [sys.executable, "-c", COMPUTE], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.returncode, done.stdout) == (0, "60.0\n"), done.stderr
