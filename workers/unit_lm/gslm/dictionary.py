"""fairseq's ``dict.txt``: which token each unit is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from infra.errors import BackboneError
from infra.printable import first_of, in_ascii
from infra.text_encoding import unicode_encoding
from workers.untrusted.file_kinds import DICTIONARY, TEXT, file_kind
from workers.untrusted.original_bytes import Original

SPECIALS: Final = ("<s>", "<pad>", "</s>", "<unk>")
"""The tokens that stand before those of the file."""
SPECIAL_TOKENS: Final = len(SPECIALS)
UNKNOWN: Final = SPECIALS.index("<unk>")
"""The token of a unit that the LM's corpus did not have."""

_REMEDY = "name the dict.txt of the LM"
_FILE = Original("a dictionary of fairseq", _REMEDY, limit=16 << 20, error=BackboneError)
_PADDING = re.compile(r"madeupword\d{4}")
_UNIT = re.compile(r"0|[1-9][0-9]{0,6}")
_NUMBER = re.compile(r"[-+]?[0-9][0-9.]*")
_OVERWRITE = "#fairseq:overwrite"
_SHOWN = 5


@dataclass(frozen=True)
class UnitDictionary:
    """The tokens of an LM.

    Attributes:
        unit_tokens: token of each unit, in the order of units; ``UNKNOWN`` for those that have none of their own.
        vocabulary: how many tokens there are, special ones and padding included.
        place: the file, for errors and notes.
        others: symbols that are no units.
    """

    unit_tokens: tuple[int, ...]
    vocabulary: int
    place: str = field(default="dict.txt", compare=False)
    others: tuple[str, ...] = field(default=(), compare=False)

    @property
    def units(self) -> int:
        return len(self.unit_tokens)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about it, though nothing is wrong."""
        notes = []
        if self.others:
            listed = first_of([ascii(symbol)[:40] for symbol in self.others], _SHOWN)
            notes.append(f"{self.place}: no unit becomes a token of {listed}, which are no numbers of units")
        if missing := [str(unit) for unit, token in enumerate(self.unit_tokens) if token == UNKNOWN]:
            listed = f"unit {missing[0]} is" if len(missing) == 1 else f"units {first_of(missing, _SHOWN)} are"
            notes.append(
                f"{self.place}: {listed} not in it, as where the LM's corpus had none; the LM reads <unk> instead"
            )
        return tuple(notes)

    def of(self, units: int) -> UnitDictionary:
        """The same for a tokenizer of so many units, the last without a line; itself where that cannot be."""
        known = self.units - self.unit_tokens.count(UNKNOWN)
        if units <= self.units or _too_many(units - known, units):
            return self
        return replace(self, unit_tokens=self.unit_tokens + (UNKNOWN,) * (units - self.units))


class _Line(NamedTuple):
    place: str
    symbol: str
    overwrites: bool


def read_dictionary(uri: str) -> UnitDictionary:
    """Reads ``<symbol> <count>`` lines, whose order is the order of tokens whatever the symbols are.

    The symbols are numbers of units. A unit that the LM's corpus did not have has no line, and is read as ``<unk>``.
    fairseq's padding ``madeupwordNNNN`` and a few other symbols have tokens that no unit becomes. A symbol that stands
    there again with ``#fairseq:overwrite`` has its later token, as in fairseq. Counts mean nothing and may be left out.

    Raises:
        BackboneError: there is no such file, a line of it cannot be used, or it is no dictionary of units.
        StorageError: the place cannot be read.
    """
    data = _FILE.read(uri)
    try:
        return _parsed(uri, data)
    except BackboneError as error:
        kind = file_kind(data)
        if kind is None or kind.what in (TEXT, DICTIONARY):
            raise
        raise _FILE.other(uri, data) from error


def _parsed(uri: str, data: bytes) -> UnitDictionary:
    lines = _lines(uri, data)
    tokens: dict[str, int] = {}
    for token, line in enumerate(lines, SPECIAL_TOKENS):
        if not line.overwrites and (line.symbol in tokens or line.symbol in SPECIALS):
            raise BackboneError(f"{line.place}: {in_ascii(line.symbol, 60)} stands there twice; {_REMEDY}")
        tokens[line.symbol] = token
    units = {int(symbol): token for symbol, token in tokens.items() if _UNIT.fullmatch(symbol)}
    others = [line for line in lines if not _UNIT.fullmatch(line.symbol) and not _PADDING.fullmatch(line.symbol)]
    for line in others:
        if len(others) >= len(units) or _NUMBER.fullmatch(line.symbol):
            raise BackboneError(
                f"{line.place}: {ascii(line.symbol)[:60]} is not the number of a unit; "
                "name the dict.txt of an LM over units"
            )
    unit_tokens = _complete(units, max(units, default=0) + 1, uri)
    return UnitDictionary(unit_tokens, SPECIAL_TOKENS + len(lines), uri, tuple(line.symbol for line in others))


def _complete(units: Mapping[int, int], count: int, place: str) -> tuple[int, ...]:
    """Token of each of the units."""
    missing = count - len(units)
    if _too_many(missing, count):
        first = next(unit for unit in range(count) if unit not in units)
        raise BackboneError(
            f"{place}: unit {first} is missing among {len(units)} units"
            f"{f', and {missing - 1} more below {count}' if missing > 1 else ''}; name the dict.txt of the LM"
        )
    return tuple(units.get(unit, UNKNOWN) for unit in range(count))


def _too_many(missing: int, count: int) -> bool:
    """Whether more units are missing than a corpus may lack, so that the file is the dictionary of something else."""
    return missing * 4 > count


def _lines(uri: str, data: bytes) -> Sequence[_Line]:
    """The symbols of the file, without the special ones, which fairseq does not write but others do."""
    try:
        text = data.decode(unicode_encoding(data))
    except UnicodeDecodeError as error:
        raise _FILE.other(uri, data, "no text") from error
    rows = [line.split() for line in text.rstrip().split("\n")]
    bare = all(len(row) == 1 for row in rows)
    lines = []
    for number, row in enumerate(rows, 1):
        overwrites = row[-1:] == [_OVERWRITE]
        symbol, *count = row[:-1] if overwrites else row or [""]
        if not bare and not (len(count) == 1 and count[0].isascii() and count[0].isdigit()):
            raise BackboneError(f"{uri}:{number}: {ascii(' '.join(row))[:60]} is not a symbol and its count; {_REMEDY}")
        lines.append(_Line(f"{uri}:{number}", symbol, overwrites))
    heads = [(line.symbol, line.overwrites) for line in lines[:SPECIAL_TOKENS]]
    return lines[SPECIAL_TOKENS:] if heads == [(special, False) for special in SPECIALS] else lines
