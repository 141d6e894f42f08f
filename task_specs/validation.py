"""Pydantic's errors as plain sentences with the place in the file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from infra.errors import Problem
from task_specs.yaml_file import Place

FAULT = "speechprompt_fault"
"""Type of this product's errors among pydantic's."""


def fault(message: str, remedy: str) -> PydanticCustomError:
    """Return an error that becomes a ``Problem`` with this message and remedy."""
    return PydanticCustomError(FAULT, "{message}; {remedy}", {"message": message, "remedy": remedy})


Models = Mapping[Place, type[BaseModel]]
"""Model at each place of a file; its fields are the keys allowed there."""


MOST_LISTED = 100
"""Most problems of a file that are listed; more of them usually have one cause."""


def problems_of(
    error: ValidationError,
    *,
    where: Callable[[Place], str],
    models: Models,
    elsewhere: Mapping[str, str] | None = None,
) -> list[Problem]:
    """Return pydantic's errors as problems of a file.

    Args:
        error: pydantic's error.
        where: function from a place to its file and line.
        models: models of the file, for suggesting keys.
        elsewhere: keys of other files, and where they belong.
    """
    errors = error.errors(include_url=False)
    found = []
    for details in errors[:MOST_LISTED]:
        place = details["loc"]
        message, remedy = _sentence(details, models, elsewhere or {})
        found.append(Problem(where(place), dotted(place), message, remedy))
    if more := len(errors) - len(found):
        found.append(Problem(where(()), "", f"and {more} more problems", "correct those above first"))
    return found


def dotted(place: Place) -> str:
    """Return a place as text: ``data.path``, ``tasks[2]``."""
    text = ""
    for part in place:
        text += f"[{part}]" if text and isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def suggestion(word: str, possible: Sequence[str]) -> str:
    """Return a remedy: the most similar of the ``possible`` words, or all of them."""
    near = difflib.get_close_matches(word.lower(), possible, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(possible)}"


def described(value: object) -> str:
    """Return a short description of a YAML value for messages."""
    match value:
        case None:
            return "empty"
        case bool():
            return f"the truth value {str(value).lower()}"
        case int() | float():
            return f"the number {value:.15g}" if isinstance(value, float) or abs(value) < 10**18 else "a number"
        case str():
            return repr(value if len(value) <= 60 else value[:57] + "...")
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
    return f"a {type(value).__name__}"


def _sentence(details: ErrorDetails, models: Models, elsewhere: Mapping[str, str]) -> tuple[str, str]:
    """Return the message and remedy of an error."""
    kind, place, value = details["type"], details["loc"], details["input"]
    context: dict[str, Any] = details.get("ctx", {})
    if kind == FAULT:
        return context["message"], context["remedy"]
    if kind == "missing":
        return "is required", f"add '{place[-1]}:'"
    if kind == "extra_forbidden":
        if place[:-1] == () and place[-1] in elsewhere:
            return "is not a key of this file", elsewhere[str(place[-1])]
        known = list(models[place[:-1]].model_fields) if place[:-1] in models else []
        remedy = suggestion(str(place[-1]), known) if known else "remove it"
        return "is not a known key", remedy
    if kind == "invalid_key":
        return "is not a known key", "keys are words"
    if kind == "value_error":
        return str(context["error"]), "correct it"
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        return f"must be {context['expected']}, not {described(value)}", suggestion(str(value), choices)
    for limit, words in _LIMITS.items():
        if limit in context:
            most = f"{context[limit]:,}" if isinstance(context[limit], int) else f"{context[limit]:g}"
            return f"must be {words} {most}, not {described(value)}", "change the number"
    if kind.endswith(("too_short", "too_long")):
        what = "characters" if isinstance(value, str) else "entries"
        if kind.endswith("short"):
            return f"has too few {what}", f"give {context['min_length']} or more"
        return f"has too many {what}", f"give {context['max_length']} or fewer"
    wanted = next((text for prefix, text in _WANTED.items() if kind.startswith(prefix)), None)
    if wanted is None:
        return f"cannot be used: {details['msg'][:1].lower()}{details['msg'][1:]}", "correct it"
    if value is None:
        return f"is empty, but must be {wanted}", "give it a value, or remove the line"
    if kind.startswith("string") and isinstance(value, bool | int | float):
        return f"must be {wanted}, not {described(value)}", "write it in quotes"
    return f"must be {wanted}, not {described(value)}", f"write {wanted}"


_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}

_WANTED = {
    "string_type": "text",
    "int_": "a whole number",
    "float_": "a number",
    "finite_number": "a finite number",
    "bool_": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping (lines of 'key: value')",
    "model_": "a mapping (lines of 'key: value')",
}
