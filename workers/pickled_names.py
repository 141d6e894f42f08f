"""What a pickle names, found without running it.

Used to say what a refused file tried. The refusal itself does not rest on it: the readers allow what they know and
nothing else, whatever a pickle hides from this scan.
"""

from __future__ import annotations

import pickletools
import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import IO, Any

from infra.printable import in_ascii

_SHOWN = 100
_PLAIN = re.compile(r"[A-Za-z_]\w*(\.\w+)*", re.ASCII)
# People know these modules by the right-hand names.
_KNOWN_AS = {"nt": "os", "posix": "os"}
_GETS, _PUTS = {"BINGET", "LONG_BINGET", "GET"}, {"BINPUT", "LONG_BINPUT", "PUT"}


def pickled_names(stream: IO[bytes]) -> list[str]:
    """Dotted names of the modules' contents that the next pickle of ``stream`` asks for, in order.

    Reads to the end of that pickle, or to where it is damaged. What cannot be a name is left out: text of any other
    kind than a pickle holds many such.
    """
    names: list[str] = []
    strings: list[str] = []
    memo: dict[int, str | None] = {}
    top: str | None = None  # the string that was pushed last, unless something else was pushed after it
    try:
        argument: Any
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name in ("GLOBAL", "INST"):
                module, _, name = argument.partition(" ")
                names += _plain(module, name)
            elif opcode.name == "STACK_GLOBAL":
                module, name = ["?", "?", *strings][-2:]
                names += _plain(module, name)
            if opcode.name in _GETS:
                top = memo.get(argument)
            elif opcode.name in _PUTS:
                memo[argument] = top
                continue
            elif opcode.name == "MEMOIZE":
                memo[len(memo)] = top
                continue
            else:
                top = argument if isinstance(argument, str) else None
            if top is not None:
                strings.append(top)
    except (ValueError, OverflowError, MemoryError):
        # Damaged from here on, which its reader will say.
        return names
    return names


def full_name(module: str, name: str) -> str:
    """``module.name`` as Python 3 calls it, without characters that could steer a terminal."""
    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[module, name]
    else:
        module = IMPORT_MAPPING.get(module, module)
    text = f"{_KNOWN_AS.get(module, module)}.{name}"
    return in_ascii(text, _SHOWN)


def _plain(module: str, name: str) -> list[str]:
    return [full_name(module, name)] if _PLAIN.fullmatch(module) and _PLAIN.fullmatch(name) else []
