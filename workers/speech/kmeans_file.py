"""Centroids out of a file: the original ``km.bin``, ``.npy``, or ``.safetensors``."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.errors import BackboneError
from workers.file_kinds import ARRAY, KMEANS, SAFETENSORS
from workers.npy_file import MAGIC, parse_npy
from workers.original_bytes import Original
from workers.packed_bytes import unpacked
from workers.speech.joblib_kmeans import joblib_centroids
from workers.speech.kmeans_name import check_count
from workers.tensor_file import parse_tensors

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
