"""Centroids out of a file: the original ``km.bin``, ``.npy``, or ``.safetensors``; and what the file's name says
of them."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from infra import object_storage
from infra.errors import BackboneError
from workers.untrusted.file_kinds import ARRAY, KMEANS, SAFETENSORS
from workers.untrusted.joblib_file import joblib_centroids
from workers.untrusted.npy_file import MAGIC, parse_npy
from workers.untrusted.original_bytes import Original, unpacked
from workers.untrusted.tensor_file import parse_tensors

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


_LIMIT = 256 << 20
_MOST_UNITS, _MOST_DIMENSIONS = 32_768, 65_536
_REMEDY = "name the km.bin of the units, or give the centroids as .npy"
_FILE = Original("a k-means", _REMEDY, limit=_LIMIT, error=BackboneError, kinds=(ARRAY, KMEANS, SAFETENSORS))


def read_centroids(uri: str) -> NDArray[np.float32]:
    """Centroids, float32 [units, dim].

    Args:
        uri: local or S3. ``.npy`` holds the array; ``.safetensors`` one tensor of any name; anything else is taken for
            a joblib dump of scikit-learn's ``KMeans`` or ``MiniBatchKMeans``, or of the array.

    Raises:
        BackboneError: there is no such file; it is damaged, or holds something else; what it holds is no table of
            finite numbers, or of another number of units than its name says; a pickle that asks for anything but a
            k-means is refused by the name of what it asks for.
        StorageError: the place cannot be read.
    """
    found = _FILE.parsed(uri, partial(_array, uri))
    if found.ndim != 2 or found.dtype.kind != "f":
        raise BackboneError(
            f"{uri}: {found.dtype} {list(found.shape)} instead of a table of centroids; name the km.bin of the units"
        )
    units, dimensions = found.shape
    if not 1 <= units <= _MOST_UNITS or not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise BackboneError(
            f"{uri}: {units} centroids of {dimensions} numbers; at most {_MOST_UNITS} of {_MOST_DIMENSIONS} can be used"
        )
    check_count(uri, units)
    with np.errstate(over="ignore"):
        centroids = np.array(found, dtype=np.float32, order="C")
    if not np.isfinite(centroids).all():
        raise BackboneError(
            f"{uri}: a centroid holds a number that is not finite, or too large for float32; fetch the file again"
        )
    return centroids


def _array(uri: str, data: bytes) -> NDArray[Any]:
    if uri.endswith(".npy") or data.startswith(MAGIC):
        return parse_npy(data)
    if uri.endswith(".safetensors"):
        tensors = parse_tensors(data)
        if len(tensors) != 1:
            raise BackboneError(f"{uri}: {len(tensors)} tensors instead of one; give a file of the centroids alone")
        return next(iter(tensors.values()))
    return joblib_centroids(unpacked(data, limit=_LIMIT), file=uri)
