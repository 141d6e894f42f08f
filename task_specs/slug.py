"""Field type of a name that becomes a directory, an experiment and a command-line word."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from task_specs.fault import fault

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def _checked(name: str) -> str:
    if not _SLUG.fullmatch(name):
        raise fault(
            f"{name[:80]!r} is not a valid name",
            "use at most 64 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit",
        )
    return name


Slug = Annotated[str, AfterValidator(_checked)]
