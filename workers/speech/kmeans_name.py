"""What the name of a k-means file says of it, such as ``hubert_base_ls960_L9_km500.bin``.

Nothing in the file itself says which layer's features were clustered.
"""

from __future__ import annotations

import re
from typing import Final

from infra import object_storage
from infra.errors import BackboneError

DEFAULT_LAYER: Final = 6
"""Of GSLM's and pGSLM's units."""
# ls960 and ll60k are corpora, l2_norm is none of layers.
_LAYERS: Final = (
    re.compile(r"layers?[-_ .]?(\d{1,3})(?!\d)", re.IGNORECASE),
    re.compile(r"(?<!\d)(\d{1,3})(?:st|nd|rd|th)[-_ ]?layer", re.IGNORECASE),
    re.compile(r"(?:(?<![A-Za-z0-9])[lL]|(?<=[a-z])L)[-_]?(\d{1,2})(?![A-Za-z0-9]|[-_]?(?:norm|dist))"),
)
_COUNTS: Final = (
    re.compile(r"km(?:eans)?[-_]?(\d{2,5})(?![-_.]?\d)", re.IGNORECASE),
    re.compile(r"(?<![A-Za-z0-9])[kK](\d{2,5})(?![A-Za-z0-9])"),
    re.compile(r"(?<!\d)(\d{2,5})[-_]?(?:clusters|units)", re.IGNORECASE),
)
_RENAME = "or rename the file if its name is wrong"


def layer_of(uri: str, layer: int | None) -> tuple[int, str]:
    """The layer whose features were clustered, and a note where nobody says it.

    Args:
        uri: the file of the k-means.
        layer: as the user says, from 1; ``None`` for nothing.

    Raises:
        BackboneError: the name says another layer.
    """
    name = object_storage.basename(uri)
    chosen = DEFAULT_LAYER if layer is None else layer
    said = _numbers(_LAYERS, name)
    if said and chosen not in said:
        listed = " or ".join(map(str, sorted(said)))
        raise BackboneError(
            f"{uri}: its name says layer {listed}, but --layer is {chosen}{'' if layer else ' where it is not given'}; "
            f"give --layer {min(said)}, {_RENAME}"
        )
    if said or layer is not None:
        return chosen, ""
    return chosen, f"{uri}: taken for a k-means of layer {chosen}, for its name says no layer; --layer says another"


def check_count(uri: str, units: int) -> None:
    """Compare the number of centroids with the one in the file's name.

    Raises:
        BackboneError: the name says another.
    """
    said = _numbers(_COUNTS, object_storage.basename(uri))
    if said and units not in said:
        raise BackboneError(
            f"{uri}: its name says {' or '.join(map(str, sorted(said)))} units, but it has {units} centroids; "
            f"fetch the file again, {_RENAME}"
        )


def _numbers(patterns: tuple[re.Pattern[str], ...], name: str) -> set[int]:
    return {int(number) for pattern in patterns for number in pattern.findall(name)}
