"""Processes that need no tensor start without torch, whose import takes seconds of processor time."""

from __future__ import annotations

import subprocess
import sys

LIGHT = [
    "orchestrator.recordings.hashing",
    "orchestrator.baselines",
    "orchestrator.verdicts",
    "orchestrator.publishing.seeds",
    "orchestrator.commands.results",
    "orchestrator.commands.status",
    "orchestrator.commands.bundle",
    "orchestrator.commands.submit",
    "orchestrator.commands.tasks",
    "workers.baselines.ngrams",
]
"""Commands, and modules whose functions run in Ray workers of their own."""


def test_they_do_not_import_torch() -> None:
    program = f"""
import importlib, sys
for name in {LIGHT}:
    importlib.import_module(name)
    heavy = [heavy for heavy in ("torch", "torchaudio", "mlflow", "scipy", "sklearn") if heavy in sys.modules]
    assert not heavy, (name, heavy)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
