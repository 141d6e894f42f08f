"""Reads a YAML mapping with the line of every key, and lists what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, PrivateAttr

from infra import object_storage
from infra.errors import ObjectNotFound, Problem, StorageError
from task_specs.problems import ProblemList, shown


class FileModel(BaseModel):
    """Base of models read from a file of the user's; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    _source: str = PrivateAttr("")

    def model_post_init(self, context: Any, /) -> None:
        """Takes the file's URI from the validation context."""
        self._source = (context or {}).get("source", "")

    @property
    def source(self) -> str:
        """URI of the file this was read from; empty for one made in code."""
        return self._source


_LIMIT = 16 << 20
_DEEPEST = 200
"""Brackets within each other: PyYAML takes time that grows with the square of their number."""
_MOST_NODES = 20_000
"""Keys and values: PyYAML reads some ten thousand a second, and keeps a kilobyte of each."""
_BRACKETS = re.compile(r"[\[\]{}]")

Place = tuple[str | int, ...]
"""Keys and list positions that lead to a value."""


class _TooMany(yaml.YAMLError):
    def __str__(self) -> str:
        return f"it holds more than {_MOST_NODES:,} keys and values"


class _Loader(yaml.SafeLoader):
    """Plain scalars as YAML 1.2 reads them: ``no`` is Norwegian, ``5e-3`` a number, a date is text."""

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
    # The order matters: the first pattern that matches gives the type.
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


@dataclass(frozen=True)
class YamlFile:
    """A mapping read from a file.

    Attributes:
        uri: where it was read.
        data: its content.
        lines: line, from 1, of each key and list entry.
    """

    uri: str
    data: dict[str, Any]
    lines: dict[Place, int]

    def where(self, place: Place) -> str:
        """``file:line`` of ``place``, or of the nearest thing around it that stands in the file."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{shown(self.uri)}:{self.lines[place]}" if place else shown(self.uri)


def read_yaml(uri: str) -> tuple[YamlFile | None, list[Problem]]:
    """The mapping in the file at ``uri``, as far as it can be read, and every problem met."""
    problems = ProblemList()
    try:
        text = object_storage.read_bytes(uri, limit=_LIMIT).decode("utf-8-sig")
    except ObjectNotFound:
        problems.add(uri, "", "there is no such file", "correct the path")
    except StorageError as error:
        problems.add(uri, "", error.message if error.where == uri else error.reason, error.remedy)
    except UnicodeDecodeError as error:
        problems.add(uri, "", f"is not UTF-8 text (byte {error.start})", "save it as UTF-8")
    else:
        return _parse(uri, text, problems), problems.collected()
    return None, problems.collected()


def parse_value(text: str) -> Any:
    """One YAML value, as on a command line.

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
    """``{key: ${NAME}/x}`` ends at the brace of the variable, for which quotes are the cure."""
    before = text[: mark.index] if mark else ""
    if before.endswith("$") and text[len(before)] == "{":
        return "put the value with ${...} in double quotes"
    return "correct the syntax there"


def _is_deep(text: str) -> bool:
    """Whether brackets are open in each other without end; those in quotes are counted too."""
    depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth = depth + 1 if bracket[0] in "[{" else max(0, depth - 1)
        if depth > _DEEPEST:
            return True
    return False


def _keys(node: yaml.Node, place: Place, seen: set[int]) -> Iterator[tuple[Place, yaml.Node]]:
    """Every key and list entry below ``node``; what an alias repeats is visited once."""
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
