"""Centroids out of a file: the original ``km.bin``, ``.npy``, or ``.safetensors``."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from infra import object_storage
from infra.errors import BackboneError, ObjectNotFound
from workers.speech.joblib_kmeans import joblib_centroids
from workers.tensor_file import parse_tensors

_LIMIT = 256 << 20
_MOST_UNITS, _MOST_DIMENSIONS = 32_768, 65_536


def read_centroids(uri: str) -> NDArray[np.float32]:
    """Centroids, float32 [units, dim].

    Args:
        uri: local or S3. ``.npy`` holds the array; ``.safetensors`` one tensor of any name; anything else is taken for
            a joblib dump of scikit-learn's ``KMeans`` or ``MiniBatchKMeans``.

    Raises:
        BackboneError: there is no such file, it holds something else, or what it holds is no table of finite numbers;
            a pickle that asks for anything but a k-means is refused by the name of what it asks for.
        StorageError: the place cannot be read, or the file is larger than any k-means.
    """
    try:
        data = object_storage.read_bytes(uri, limit=_LIMIT)
    except ObjectNotFound as error:
        raise BackboneError(f"{uri}: there is no such file; name the km.bin of the units") from error
    found = _array(uri, data)
    if found.ndim != 2 or found.dtype.kind != "f":
        raise BackboneError(
            f"{uri}: {found.dtype} {list(found.shape)} instead of a table of centroids; name the km.bin of the units"
        )
    units, dimensions = found.shape
    if not 1 <= units <= _MOST_UNITS or not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise BackboneError(
            f"{uri}: {units} centroids of {dimensions} numbers; at most {_MOST_UNITS} of {_MOST_DIMENSIONS} can be used"
        )
    if not np.isfinite(found).all():
        raise BackboneError(f"{uri}: a centroid holds a number that is not finite; fetch the file again")
    return np.ascontiguousarray(found, dtype=np.float32)


def _array(uri: str, data: bytes) -> NDArray[Any]:
    if uri.endswith(".npy"):
        try:
            return npy.read_array(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError, MemoryError) as error:
            raise BackboneError(f"{uri}: not an .npy file of numbers; give the centroids as km.bin or .npy") from error
    if uri.endswith(".safetensors"):
        try:
            tensors = parse_tensors(data)
        except ValueError as error:
            raise BackboneError(f"{uri}: {error}; give the centroids as .npy") from error
        if len(tensors) != 1:
            raise BackboneError(f"{uri}: {len(tensors)} tensors instead of one; give a file of the centroids alone")
        return next(iter(tensors.values()))
    return joblib_centroids(data, file=uri)
