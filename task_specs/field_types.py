"""Field types of users' files: bounded numbers, names, and locations with ``${NAME}`` in paths."""

from __future__ import annotations

import math
import os
import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from infra import object_storage
from infra.errors import StorageError
from task_specs.validation import described, fault

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DOLLAR = re.compile(
    rf"\$(?:(?P<literal>\$)|(?P<bare>(?:env:)?{_NAME})|(?P<command>\()|\{{(?P<braced>[^{{}}]*)(?P<closed>\}})?|(?P<other>.|$))",
    re.DOTALL,
)
_WINDOWS = re.compile(rf"%({_NAME})%")
_ELSEWHERE = re.compile(rf"(?:(?:oc\.)?env[:.])({_NAME})\b")
"""Variables as PowerShell, OmegaConf and other tools write them."""
_DEFAULT = re.compile(rf"({_NAME}):?[-=?+]")


def expand(path: str) -> str:
    """Replace every ``${NAME}`` by that environment variable, and every ``$$`` by a dollar sign.

    Values are not expanded again. An empty variable counts as unset, so that ``${ROOT}/audio`` does not silently become
    ``/audio``. Forms that shells and other tools expand are refused: ``$NAME``, ``${NAME:-default}``, ``$(command)``,
    and a path that begins with ``%NAME%``. Any other dollar sign stays.

    Raises:
        pydantic_core.PydanticCustomError: a variable is not set, or a reference has another form.
    """
    if windows := _WINDOWS.match(path):
        raise fault(f"{windows[0]} is not expanded", f"write ${{{windows[1]}}}, or ./{windows[0]} for that name")
    return _DOLLAR.sub(_value, path)


def literal(path: str) -> str:
    """Escape a path, such as one that is already expanded, so that ``expand`` returns it unchanged."""
    path = path.replace("$", "$$")
    return f"./{path}" if _WINDOWS.match(path) else path


def _value(match: re.Match[str]) -> str:
    if match["literal"]:
        return "$"
    if name := (match["bare"] or "").removeprefix("env:"):
        raise fault(f"{match[0]} has no braces", f"write ${{{name}}}, or ${match[0]} for a dollar sign")
    if match["command"]:
        raise fault("'$(' begins a command, which is not run", "write the path itself, or $$( for a dollar sign")
    if match["braced"] is None:
        return match[0]
    if not match["closed"]:
        raise fault("a '${' is not closed", "write it as ${NAME}")
    name = match["braced"]
    if other := _ELSEWHERE.match(name):
        raise fault(f"{match[0]} is another tool's form of a variable", f"write ${{{other[1]}}}")
    if default := _DEFAULT.match(name):
        raise fault(
            f"{match[0]} has a default, which is not supported", f"write ${{{default[1]}}} and set {default[1]}"
        )
    if not re.fullmatch(_NAME, name):
        raise fault(f"{match[0]} is not the name of an environment variable", "write it as ${NAME}")
    if not os.environ.get(name):
        raise fault(f"the environment variable {name} is not set", f"set {name}, or write the path itself")
    return os.environ[name]


def located(path: str, base: str | None) -> str:
    """Expand the environment variables of ``path``, and make it absolute against the directory ``base``.

    Without ``base`` the path must be absolute and is not expanded: it was located before, as in a worker's order.

    Raises:
        pydantic_core.PydanticCustomError: the path is empty, relative without ``base``, or in another user's home, or
            it has an unset variable or a scheme other than ``s3://``.
    """
    if base is not None:
        path = expand(path)
        if somebody := re.match(r"~[A-Za-z_][^/]*", path):
            raise fault(f"{somebody[0]} is not expanded", f"write that directory, or ./{somebody[0]} for that name")
    else:
        if not (object_storage.is_s3(path) or path.startswith((os.sep, "~"))):
            raise fault("a relative path cannot be resolved here", "give an absolute path")
        base = os.sep
    try:
        return object_storage.resolve(path, base)
    except StorageError as error:
        raise fault(error.reason, error.remedy or "correct the path") from error


def _from_context(path: str, info: ValidationInfo) -> str:
    return located(path, info.context.get("base") if info.context else None)


Location = Annotated[str, AfterValidator(_from_context)]
"""Path or ``s3://`` URI, resolved against the directory in the validation's ``context={"base": directory}``."""


_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def _checked(name: str) -> str:
    if not _SLUG.fullmatch(name):
        raise fault(
            f"{name[:80]!r} is not a valid name",
            "use at most 64 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit",
        )
    return name


Slug = Annotated[str, AfterValidator(_checked)]


MOST_STEPS: Final = 10_000_000
"""Most optimizer steps; at a hundred per second they take a day."""
MOST_EXAMPLES: Final = 10_000_000
_FLOAT32_MAX: Final = 3.4028234663852886e38
"""Largest float32: parameters and their settings are float32."""


def number(value: Any) -> Any:
    """Return ``value``, but refuse truth values, which pydantic takes for 1 or 0, and numbers that are not finite.

    Raises:
        pydantic_core.PydanticCustomError: ``value`` is one of these.
    """
    if isinstance(value, bool):
        raise fault(f"must be a number, not {described(value)}", "write a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise fault(f"must be a finite number, not {described(value)}", "write a number")
    return value


Int = Annotated[int, BeforeValidator(number)]
Float = Annotated[float, BeforeValidator(number), Field(allow_inf_nan=False, ge=-_FLOAT32_MAX, le=_FLOAT32_MAX)]
Steps = Annotated[Int, Field(le=MOST_STEPS)]
