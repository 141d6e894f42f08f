"""The benchmarks at hand, and how one of them is run."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
import warnings

import benchmarks
from benchmarks.result import markdown

ORDER = ("flops", "tuning", "gangs", "one_shot", "shared_memory", "tokenizing")
"""Those there are, first of all; others follow by name."""
PARTS = {"__main__", "reference_form", "result", "suite", "workload"}


def names() -> list[str]:
    """The benchmarks at hand."""
    found = {module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.ispkg} - PARTS
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def run(name: str, busy: bool) -> str:
    """One benchmark, as Markdown."""
    warnings.filterwarnings("ignore")
    module = importlib.import_module(f"benchmarks.{name}")
    if not hasattr(module, "measure"):
        shown = subprocess.run(
            [sys.executable, "-m", module.__name__], check=True, capture_output=True, text=True
        ).stdout
        return f"### {name}\n\n```\n{shown.rstrip()}\n```"
    options = {"busy": busy} if "busy" in inspect.signature(module.measure).parameters else {}
    return markdown(getattr(module, "TITLE", name), module.measure(**options))
