"""The centroids in a joblib or pickle file of a scikit-learn k-means, without scikit-learn and without trust.

joblib writes a pickle in which every array is a small record, and right behind the record the array's raw bytes; since
version 1.2 padding stands before them so that they are aligned. This reader knows the few names that such a file
holds, each as an inert record, and refuses any other by name before anything of it is used.
"""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from infra.errors import BackboneError
from infra.printable import in_ascii
from workers.untrusted.fault_text import Damaged
from workers.untrusted.pickled_arrays import NUMPY_STAND_INS, PickledArray, PickledDtype, array_of, byte_count
from workers.untrusted.pickles import Inert, InertUnpickler, latin1, reconstructor

_CENTROIDS = "cluster_centers_"
# Of the estimator, of the random state that some versions of it keep, and of what it asks of its caller's data.
_INERT: Final = frozenset(
    {
        *(f"sklearn.cluster.{module}.{kind}KMeans" for module in ("_kmeans", "k_means_") for kind in ("", "MiniBatch")),
        *(f"sklearn.utils._metadata_requests.{kind}Request" for kind in ("Metadata", "MethodMetadata")),
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
_FUNCTIONS: Final = {"_codecs.encode": latin1, "copyreg._reconstructor": reconstructor}


def joblib_centroids(data: bytes, *, file: str) -> NDArray[Any]:
    """``cluster_centers_`` of the estimator that ``data`` holds, or the array that it is.

    Args:
        data: content of a file of ``joblib.dump`` (0.10 or later), unpacked if it was compressed, or of
            ``pickle.dump``; of any protocol.
        file: its name, for errors.

    Raises:
        BackboneError: it names anything but a k-means (the error says what), or holds no centroids.
        Damaged: it ends too early, or goes on behind its end.
        ValueError: it is no such file.
    """
    stream = io.BytesIO(data)
    reader = _KMeansReader(stream, file)
    try:
        found = reader.load()
        if isinstance(found, Inert) and isinstance(found.state, dict):
            found = found.state.get(_CENTROIDS)
        if isinstance(found, PickledArray):
            found = found.array()
        elif isinstance(found, ArrayRecord):
            found = found.array
    except (BackboneError, Damaged):
        raise
    except Exception as error:
        # A damaged pickle makes its reader raise nearly any kind of error.
        raise ValueError(f"{type(error).__name__}: {in_ascii(error)}") from error
    if not isinstance(found, np.ndarray):
        raise BackboneError(f"{file}: no k-means with {_CENTROIDS}; name its km.bin, or give the centroids as .npy")
    if rest := len(data) - stream.tell():
        raise Damaged(f"{rest} bytes follow its end")
    return found


class _KMeansReader(InertUnpickler):
    def __init__(self, file: io.BytesIO, name: str) -> None:
        super().__init__(file)
        self._name = name
        self._record = type("ArrayRecord", (ArrayRecord,), {"file": file, "name": name})

    def stand_in(self, name: str) -> Any:
        if name in _ARRAY_RECORDS:
            return self._record
        if name in NUMPY_STAND_INS:
            return NUMPY_STAND_INS[name]
        if name in _INERT:
            return type(name, (Inert,), {})
        if name in _FUNCTIONS:
            return _FUNCTIONS[name]
        if name == "joblib.numpy_pickle.NDArrayWrapper":
            raise BackboneError(
                f"{self._name}: of a joblib before 0.10, which keeps arrays in files of their own; "
                "give the one of the centroids, such as km.bin_01.npy"
            )
        raise BackboneError(
            f"{self._name}: refused, for reading it would call {name}, which no k-means needs; "
            "fetch the file from a source you trust, or give the centroids as .npy"
        )


class ArrayRecord(Inert):
    """joblib's record of an array; its state is followed by the array's bytes, which are read at that moment."""

    file: io.BytesIO
    name: str
    array: NDArray[Any] | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise ValueError("an array record without fields")
        shape, dtype = state.get("shape"), state.get("dtype")
        if isinstance(dtype, PickledDtype) and dtype.holds_objects():
            # Names of features, which no centroid needs; they are a pickle of their own.
            _KMeansReader(self.file, self.name).load()
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            padding = self.file.read(1)
            self.file.read(padding[0] if padding else 0)
        *_, size = byte_count(shape, dtype)
        data = self.file.read(size)
        if len(data) < size:
            raise Damaged(f"it ends {size - len(data)} bytes too early")
        self.array = array_of(data, shape, dtype, fortran=state.get("order") == "F")
