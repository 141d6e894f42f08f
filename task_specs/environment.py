"""``${NAME}`` in paths."""

from __future__ import annotations

import os
import re

from task_specs.fault import fault

_REFERENCE = re.compile(r"\$\{([^}]*)\}")


def expand(path: str) -> str:
    """``path`` with every ``${NAME}`` replaced by that environment variable.

    What a variable holds is not expanded again. An empty variable counts as unset: ``${ROOT}/audio`` must
    not silently become ``/audio``.

    Raises:
        pydantic_core.PydanticCustomError: a variable that is not set, or a reference that is not well formed.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise fault(f"${{{name}}} is not the name of an environment variable", "write it as ${NAME}")
        if not os.environ.get(name):
            raise fault(f"the environment variable {name} is not set", f"set {name}, or write the path itself")
        return os.environ[name]

    if "${" in _REFERENCE.sub("", path):
        raise fault("a '${' is not closed", "write it as ${NAME}")
    return _REFERENCE.sub(value, path)
