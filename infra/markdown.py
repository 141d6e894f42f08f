"""Text by others in Markdown: shown as it is, whatever the renderer makes of Markdown."""

from __future__ import annotations

import re

from infra.printable import printable

_SPECIAL = re.compile(
    r"[\\`*_{}\[\]<>|~$&]"  # emphasis, code, links, HTML, cells of tables, formulas
    r"|:(?=//)|(?<=www)\.",  # what makes a link of an address that stands by itself
    re.IGNORECASE,
)


def markdown_text(text: str) -> str:
    """``text`` as one line within a paragraph, an entry of a list or a cell of a table."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", printable(text))
