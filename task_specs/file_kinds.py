"""The kinds of YAML file that a user writes, told apart by their keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from infra.errors import Problem
from task_specs.problems import shown

Kind = Literal["job", "task", "backbone"]

_KEYS: Final[Mapping[Kind, frozenset[str]]] = {
    "job": frozenset({"backbone", "bundles", "gang", "precision", "baselines"}),
    "task": frozenset({"data", "recipe", "seeds", "sweep", "metric", "audio"}),
    "backbone": frozenset({"out", "tokenizer", "unit_lm", "training"}),
}
"""Keys that no other kind has."""
_ADVICE: Final[Mapping[Kind, str]] = {
    "job": "it is run with 'speechprompt run'",
    "task": "a job lists it under tasks",
    "backbone": "it is for 'speechprompt backbone pretrain'",
}


def mistaken(uri: str, data: Mapping[str, Any], wanted: Kind) -> list[Problem]:
    """Return that a file is of another kind than the one that is wanted; nothing if it may be that kind.

    Args:
        uri: of the file.
        data: its mapping.
        wanted: what it was given as.
    """
    if _KEYS[wanted] & data.keys():
        return []
    for kind, keys in _KEYS.items():
        if keys & data.keys():
            return [Problem(shown(uri), "", f"is a {kind} file, not a {wanted} file", _ADVICE[kind])]
    return []
