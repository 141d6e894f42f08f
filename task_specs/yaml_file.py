"""Reading of YAML mappings with the line of every key, and with all their problems."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, PrivateAttr

from infra import object_storage
from infra.errors import ObjectNotFound, Problem, StorageError
from task_specs.near_paths import path_remedy
from task_specs.problems import ProblemList, shown


class FileModel(BaseModel):
    """Base of models that are read from users' files; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    _source: str = PrivateAttr("")

    def model_post_init(self, context: Any, /) -> None:
        """Take the file's URI from the validation context."""
        self._source = (context or {}).get("source", "")

    @property
    def source(self) -> str:
        """URI of the file; empty for a model made in code."""
        return self._source


_LIMIT = 16 << 20
_DEEPEST = 200
"""Deepest nesting of brackets: PyYAML's time grows with its square."""
_MOST_NODES = 20_000
"""Most keys and values: PyYAML reads about ten thousand per second, with a kilobyte of memory each."""
_BRACKETS = re.compile(r"[\[\]{}]")

Place = tuple[str | int, ...]
"""Path to a value: keys and list positions."""


class _TooMany(yaml.YAMLError):
    def __str__(self) -> str:
        return f"it holds more than {_MOST_NODES:,} keys and values"


class _Loader(yaml.SafeLoader):
    """Loader that reads plain scalars by YAML 1.2: ``no`` (Norwegian) is text, ``5e-3`` a number, a date text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (as declared)

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise _TooMany
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        # An explicit tag (`!!int "x"`) reaches PyYAML's converters unchecked.
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise yaml.constructor.ConstructorError(
                None, None, f"this value is not what its tag {node.tag} says", node.start_mark
            ) from error


for _tag, _pattern, _first in [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]{0,18})", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
     list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
]:  # fmt: skip
    # In this order: the first pattern that matches gives the type.
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


@dataclass(frozen=True)
class YamlFile:
    """A mapping read from a file.

    Attributes:
        uri: URI of the file.
        data: the mapping.
        lines: line of each key and list entry, from 1.
    """

    uri: str
    data: dict[str, Any]
    lines: dict[Place, int]

    def where(self, place: Place) -> str:
        """Return ``file:line`` of ``place``, or of the nearest enclosing place in the file."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{shown(self.uri)}:{self.lines[place]}" if place else shown(self.uri)


def read_yaml(uri: str) -> tuple[YamlFile | None, list[Problem]]:
    """Read the mapping in a file; return it, or ``None`` if it cannot be read, and all problems."""
    problems = ProblemList()
    try:
        text = object_storage.read_bytes(uri, limit=_LIMIT).decode("utf-8-sig")
    except ObjectNotFound:
        problems.add(uri, "", "there is no such file", path_remedy(uri))
    except StorageError as error:
        problems.add(uri, "", error.message if error.where == uri else error.reason, error.remedy)
    except UnicodeDecodeError as error:
        problems.add(uri, "", f"is not UTF-8 text (byte {error.start})", "save it as UTF-8")
    else:
        return _parse(uri, text, problems), problems.collected()
    return None, problems.collected()


def parse_value(text: str) -> Any:
    """Parse a YAML value, for example from the command line.

    Raises:
        yaml.YAMLError: ``text`` is not YAML.
    """
    if _is_deep(text):
        raise yaml.YAMLError("it is nested too deeply")
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    finally:
        loader.dispose()


def _parse(uri: str, text: str, problems: ProblemList) -> YamlFile | None:
    lines: dict[Place, int] = {}
    if _is_deep(text):
        problems.add(uri, "", "is nested too deeply", "write it flat")
        return None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            problems.add(uri, "", "is not a mapping of keys to values", "write it as lines of 'key: value'")
            return None
        for place, key in _keys(root, (), set()):
            if place in lines:
                field = ".".join(map(str, place))
                first = f"is given twice, first in line {lines[place]}"
                problems.add(uri, field, first, "remove one of them", line=key.start_mark.line + 1)
            lines.setdefault(place, key.start_mark.line + 1)
        data = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        column = f" (column {mark.column + 1})" if mark else ""
        what = error.problem or error.context or "it cannot be parsed"
        line = mark.line + 1 if mark else None
        problems.add(uri, "", f"is not valid YAML{column}: {what}", _remedy(text, mark), line=line)
        return None
    except _TooMany as error:
        problems.add(uri, "", str(error).removeprefix("it "), "shorten its lists")
        return None
    except yaml.YAMLError as error:
        what = " ".join(str(error).split())
        problems.add(uri, "", f"is not valid YAML: {what}", "correct the syntax there")
        return None
    except RecursionError:
        problems.add(uri, "", "is nested too deeply", "write it flat")
        return None
    return YamlFile(uri, data, lines)


def _remedy(text: str, mark: yaml.Mark | None) -> str:
    """Return the remedy for a syntax error: ``{key: ${NAME}/x}`` ends at the variable's brace and needs quotes."""
    before = text[: mark.index] if mark else ""
    if before.endswith("$") and text[len(before)] == "{":
        return "put the value with ${...} in double quotes"
    return "correct the syntax there"


def _is_deep(text: str) -> bool:
    """Return whether brackets are nested too deeply, counting also those in quotes."""
    depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth = depth + 1 if bracket[0] in "[{" else max(0, depth - 1)
        if depth > _DEEPEST:
            return True
    return False


def _keys(node: yaml.Node, place: Place, seen: set[int]) -> Iterator[tuple[Place, yaml.Node]]:
    """Yield every key and list entry below ``node``, visiting what an alias repeats only once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge" or not isinstance(key, yaml.ScalarNode):
                continue
            inside = (*place, str(key.value))
            yield inside, key
            yield from _keys(value, inside, seen)
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            yield (*place, position), value
            yield from _keys(value, (*place, position), seen)
