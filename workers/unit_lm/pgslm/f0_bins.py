"""The edges between a pGSLM's F0 bins, from the file that its data were quantised with."""

from __future__ import annotations

import numpy as np

from infra.errors import BackboneError
from workers.untrusted.file_kinds import ARRAY
from workers.untrusted.npy_file import parse_npy
from workers.untrusted.original_bytes import Original
from workers.untrusted.pickled_arrays import PickledArray
from workers.untrusted.pickled_tensors import PickledTensor
from workers.untrusted.torch_file import read_torch_file

_REMEDY = "give mean_norm_log_f0_seg_bin.th, or its edges as .npy"
_FILE = Original("edges of F0 bins", _REMEDY, limit=1 << 20, error=BackboneError, kinds=(ARRAY,))


def read_f0_edges(uri: str) -> dict[int, tuple[float, ...]]:
    """Edges by number of bins: of ``{bins: edges}`` written by ``torch.save``, or of one array in ``.npy``.

    Raises:
        BackboneError: there is no such file, it holds something else, or its edges do not ascend.
        StorageError: the place cannot be read.
    """
    if uri.endswith(".npy"):
        edges = _array(_FILE.parsed(uri, parse_npy), uri)
        return {len(edges) + 1: edges}
    content = read_torch_file(uri).content
    if not isinstance(content, dict) or not content or not all(type(bins) is int for bins in content):
        raise BackboneError(f"{uri}: no F0 bins by their number; {_REMEDY}")
    found = {bins: _array(value, uri) for bins, value in content.items()}
    for bins, edges in found.items():
        if len(edges) != bins - 1:
            raise BackboneError(f"{uri}: {len(edges)} edges for {bins} bins, which need {bins - 1}; {_REMEDY}")
    return found


def _array(value: object, uri: str) -> tuple[float, ...]:
    try:
        if isinstance(value, PickledArray):
            value = value.array()
        elif isinstance(value, PickledTensor):
            value = value.tensor().numpy()
        if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind != "f":
            raise ValueError("no row of numbers")
    except ValueError as error:
        raise BackboneError(f"{uri}: the edges of F0 bins are no row of numbers ({error}); {_REMEDY}") from error
    edges = value.astype(np.float64)
    if not len(edges) or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
        raise BackboneError(f"{uri}: the edges of F0 bins do not ascend; {_REMEDY}")
    return tuple(float(edge) for edge in edges)
