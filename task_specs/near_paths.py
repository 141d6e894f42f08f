"""What a path that leads nowhere may have meant."""

from __future__ import annotations

import difflib
from itertools import islice
from pathlib import Path

from infra import object_storage

CORRECT = "correct the path"
MOST_NAMES = 5000
"""In a directory whose names are compared."""


def path_remedy(path: str) -> str:
    """Return a remedy for an absolute path at which nothing is: the most similar name where it goes astray.

    Args:
        path: local, or in object storage, where names are not looked up.
    """
    if object_storage.is_s3(path):
        return CORRECT
    missing = Path(path)
    while not missing.parent.is_dir() and missing != missing.parent:
        missing = missing.parent
    try:
        names = sorted(name.name for name in islice(missing.parent.iterdir(), MOST_NAMES + 1))
    except OSError:
        return CORRECT
    if len(names) > MOST_NAMES:
        return CORRECT
    # A suffix that both have makes any two names look alike.
    near = difflib.get_close_matches(missing.stem, [Path(name).stem for name in names], n=1, cutoff=0.6)
    alike = [name for name in names if Path(name).stem in near]
    return f"did you mean {difflib.get_close_matches(missing.name, alike, n=1, cutoff=0)[0]!r}?" if alike else CORRECT
