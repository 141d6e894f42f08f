"""Reads small copies of published data sets through their packaged specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.errors import InvalidInputs
from task_specs.dataset import Dataset, read_dataset
from task_specs.packaged import packaged_spec
from task_specs.schema import TaskSpec, load_task_spec


def spec_of(name: str, root: Path | str, **settings: Any) -> TaskSpec:
    """The packaged spec of a data set that lies in ``root``."""
    path = packaged_spec(name)
    assert path is not None
    spec, problems = load_task_spec(path, data={"root": str(root), **settings})
    assert spec is not None, problems
    return spec


def read(name: str, root: Path | str, **settings: Any) -> Dataset:
    return read_dataset(spec_of(name, root, **settings))


def wrong(name: str, root: Path, *, whole: bool = False, **settings: Any) -> list[str]:
    """What is wrong, without the root unless ``whole``; nothing if all is well."""
    try:
        read(name, root, **settings)
    except InvalidInputs as error:
        return [str(problem) if whole else str(problem).replace(f"{root}/", "") for problem in error.problems]
    return []
