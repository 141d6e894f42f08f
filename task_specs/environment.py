"""``${NAME}`` in paths."""

from __future__ import annotations

import os
import re

from task_specs.fault import fault

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DOLLAR = re.compile(
    rf"\$(?:(?P<literal>\$)|(?P<bare>(?:env:)?{_NAME})|(?P<command>\()|\{{(?P<braced>[^{{}}]*)(?P<closed>\}})?|(?P<other>.|$))",
    re.DOTALL,
)
_WINDOWS = re.compile(rf"%({_NAME})%")
_ELSEWHERE = re.compile(rf"(?:(?:oc\.)?env[:.])({_NAME})\b")
"""As PowerShell, and OmegaConf and others, name a variable."""
_DEFAULT = re.compile(rf"({_NAME}):?[-=?+]")


def expand(path: str) -> str:
    """``path`` with every ``${NAME}`` replaced by that environment variable, and every ``$$`` by a dollar sign.

    What a variable holds is not expanded again. An empty variable counts as unset: ``${ROOT}/audio`` must
    not silently become ``/audio``. What shells and other tools would expand is refused, not taken for a name:
    ``$NAME``, ``${NAME:-default}``, ``$(command)``, and a path that begins with ``%NAME%``. A dollar sign before
    anything else is one.

    Raises:
        pydantic_core.PydanticCustomError: a variable that is not set, or a reference of another form.
    """
    if windows := _WINDOWS.match(path):
        raise fault(f"{windows[0]} is not expanded", f"write ${{{windows[1]}}}, or ./{windows[0]} for that name")
    return _DOLLAR.sub(_value, path)


def literal(path: str) -> str:
    """A path that ``expand`` gives back as it is, such as one that was expanded before."""
    path = path.replace("$", "$$")
    return f"./{path}" if _WINDOWS.match(path) else path


def _value(match: re.Match[str]) -> str:
    if match["literal"]:
        return "$"
    if name := (match["bare"] or "").removeprefix("env:"):
        raise fault(f"{match[0]} has no braces", f"write ${{{name}}}, or ${match[0]} for a dollar sign")
    if match["command"]:
        raise fault("'$(' would be a command, and none is run", "write the path itself, or $$( for a dollar sign")
    if match["braced"] is None:
        return match[0]
    if not match["closed"]:
        raise fault("a '${' is not closed", "write it as ${NAME}")
    name = match["braced"]
    if other := _ELSEWHERE.match(name):
        raise fault(f"{match[0]} is how another tool names a variable", f"write ${{{other[1]}}}")
    if default := _DEFAULT.match(name):
        raise fault(
            f"{match[0]} has a default, which is not read here", f"write ${{{default[1]}}} and set {default[1]}"
        )
    if not re.fullmatch(_NAME, name):
        raise fault(f"{match[0]} is not the name of an environment variable", "write it as ${NAME}")
    if not os.environ.get(name):
        raise fault(f"the environment variable {name} is not set", f"set {name}, or write the path itself")
    return os.environ[name]
