"""The centroids in a joblib or pickle file of a scikit-learn k-means, without scikit-learn and without trust.

joblib writes a pickle in which every array is a small record, and right behind the record the array's raw bytes; since
version 1.2 padding stands before them so that they are aligned. This reader knows the few names that such a file
holds, each as an inert record, and refuses any other by name before anything of it is used.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from infra.errors import BackboneError
from workers.inert import Inert
from workers.pickled_arrays import NUMPY_STAND_INS, PickledArray, array_of, byte_count
from workers.pickled_names import full_name

_CENTROIDS = "cluster_centers_"
# Of the estimator, and of the random state that some versions of it keep.
_INERT: Final = frozenset(
    {
        *(f"sklearn.cluster.{module}.{kind}KMeans" for module in ("_kmeans", "k_means_") for kind in ("", "MiniBatch")),
        "builtins.object",
        "numpy.random.mtrand.RandomState",
        "numpy.random._mt19937.MT19937",
        *(f"numpy.random._pickle.__{kind}_ctor" for kind in ("randomstate", "bit_generator")),
        "numpy.random.__RandomState_ctor",
    }
)
_ARRAY_RECORDS: Final = frozenset(
    {"joblib.numpy_pickle.NumpyArrayWrapper", "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper"}
)


def joblib_centroids(data: bytes, *, file: str) -> NDArray[Any]:
    """``cluster_centers_`` of the estimator that ``data`` holds.

    Args:
        data: content of an uncompressed file of ``joblib.dump`` (0.10 or later), or of ``pickle.dump`` with a protocol
            up to 4.
        file: its name, for errors.

    Raises:
        BackboneError: it names anything but a k-means (the error says what), is damaged, or holds no centroids.
    """
    reader = _KMeansReader(io.BytesIO(data), file)
    try:
        estimator = reader.load()
        state = estimator.state if isinstance(estimator, Inert) else None
        found = state.get(_CENTROIDS) if isinstance(state, dict) else None
        if isinstance(found, PickledArray):
            found = found.array()
        elif isinstance(found, Inert):
            found = getattr(found, "array", None)
    except BackboneError:
        raise
    except Exception as error:
        # A damaged pickle makes its reader raise nearly any kind of error.
        raise BackboneError(
            f"{file}: not a complete, uncompressed k-means of joblib ({type(error).__name__}: {ascii(str(error))[:80]})"
            "; fetch it again, or give the centroids as .npy"
        ) from error
    if not isinstance(found, np.ndarray):
        raise BackboneError(f"{file}: no k-means with {_CENTROIDS}; name its km.bin, or give the centroids as .npy")
    return found


# The reader in Python, as joblib uses: the one in C may read ahead, past the array's bytes, and lets a file of
# a few bytes ask for any amount of memory.
class _KMeansReader(pickle._Unpickler):
    # Without the one instruction that takes memory before it looks for the bytes to fill it.
    dispatch: ClassVar = {
        code: read for code, read in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]
    }

    def __init__(self, file: io.BytesIO, name: str) -> None:
        super().__init__(file)
        self._name = name
        self._record = _array_record(file)

    def find_class(self, module: str, name: str) -> Any:
        full = full_name(module, name)
        if full in _ARRAY_RECORDS:
            return self._record
        if full in NUMPY_STAND_INS:
            return NUMPY_STAND_INS[full]
        if full in _INERT:
            return type(name, (Inert,), {})
        if full in _FUNCTIONS:
            return _FUNCTIONS[full]
        raise BackboneError(
            f"{self._name}: refused, for reading it would call {full}, which no k-means needs; "
            "fetch the file from a source you trust, or give the centroids as .npy"
        )


def _array_record(file: io.BytesIO) -> type[Inert]:
    """joblib's record of an array; its state is followed by the array's bytes, which are read at that moment."""

    class ArrayRecord(Inert):
        array: NDArray[Any]

        def __setstate__(self, state: object) -> None:
            if not isinstance(state, dict):
                raise ValueError("an array record without fields")
            if state.get("numpy_array_alignment_bytes") is not None:
                padding = file.read(1)
                file.read(padding[0] if padding else 0)
            shape, dtype = state.get("shape"), state.get("dtype")
            *_, size = byte_count(shape, dtype)
            self.array = array_of(file.read(size), shape, dtype, fortran=state.get("order") == "F")

    return ArrayRecord


def _latin1(text: object, encoding: object) -> bytes:
    """``_codecs.encode`` as old protocols use it to write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes in an unknown encoding")
    return text.encode("latin1")


def _reconstructor(kind: object, *_: object) -> Inert:
    """``copyreg._reconstructor``, by which protocols 0 and 1 make every object."""
    if not isinstance(kind, type) or not issubclass(kind, Inert):
        raise ValueError("an object of no class")
    return kind()


_FUNCTIONS: Final = {"_codecs.encode": _latin1, "copyreg._reconstructor": _reconstructor}
