"""fairseq's ``dict.txt``: which token each unit is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra import object_storage
from infra.errors import BackboneError, ObjectNotFound

SPECIAL_TOKENS = 4
"""``<s>``, ``<pad>``, ``</s>`` and ``<unk>`` stand before the lines of the file."""
_PADDING = re.compile(r"madeupword\d{4}")
_UNIT = re.compile(r"0|[1-9][0-9]{0,6}")
_LIMIT = 16 << 20


@dataclass(frozen=True)
class UnitDictionary:
    """The tokens of an LM.

    Attributes:
        unit_tokens: token of each unit, in the order of units.
        vocabulary: how many tokens there are, special ones and padding included.
    """

    unit_tokens: tuple[int, ...]
    vocabulary: int

    @property
    def units(self) -> int:
        return len(self.unit_tokens)


def read_dictionary(uri: str) -> UnitDictionary:
    """Reads ``<symbol> <count>`` lines, whose order is the order of tokens whatever the symbols are.

    The symbols must be the unit numbers from 0 on, each once, and at most fairseq's padding ``madeupwordNNNN``.

    Raises:
        BackboneError: there is no such file, or a line of it cannot be used.
        StorageError: the place cannot be read.
    """
    try:
        text = object_storage.read_bytes(uri, limit=_LIMIT).decode("utf-8")
    except ObjectNotFound as error:
        raise BackboneError(f"{uri}: there is no such file; name the dict.txt of the LM") from error
    except UnicodeDecodeError as error:
        raise BackboneError(f"{uri}: not a text file; name the dict.txt of the LM") from error
    tokens: dict[int, int] = {}
    padding: set[str] = set()
    lines = text.removesuffix("\n").split("\n")
    for number, line in enumerate(lines):
        symbol = _symbol(line, f"{uri}:{number + 1}")
        if _PADDING.fullmatch(symbol):
            known = symbol in padding
            padding.add(symbol)
        else:
            known = int(symbol) in tokens
            tokens[int(symbol)] = SPECIAL_TOKENS + number
        if known:
            raise BackboneError(f"{uri}:{number + 1}: {symbol} stands there twice; name the dict.txt of the LM")
    absent = next((unit for unit in range(len(tokens)) if unit not in tokens), None)
    if absent is not None:
        raise BackboneError(f"{uri}: unit {absent} is missing among {len(tokens)} units; name the dict.txt of the LM")
    return UnitDictionary(tuple(tokens[unit] for unit in range(len(tokens))), SPECIAL_TOKENS + len(lines))


def _symbol(line: str, place: str) -> str:
    symbol, _, count = line.rstrip("\r").rpartition(" ")
    if not symbol or not re.fullmatch(r"[0-9]+", count):
        raise BackboneError(f"{place}: {ascii(line)[:60]} is not a symbol and its count; name the dict.txt of the LM")
    if not _PADDING.fullmatch(symbol) and not _UNIT.fullmatch(symbol):
        raise BackboneError(
            f"{place}: {ascii(symbol)[:60]} is not the number of a unit; name the dict.txt of an LM over units"
        )
    return symbol
