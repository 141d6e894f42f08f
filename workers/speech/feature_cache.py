"""Mean continuous features of clips, by content, beside their units.

    <root>/<tokenizer fingerprint>-features/<digest of the shard>.parquet

with the columns key, layers (how many) and features (float32, layer after layer).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from infra import object_storage
from workers.speech.shard_cache import ShardCache

Features = NDArray[np.float32]
"""Means over time, float32 [layers, dim]."""


class FeatureCache(ShardCache):
    """Args:
        root: local directory or ``s3://`` prefix; made when first written to.
        tokenizer_fingerprint: of the tokenizer whose features these are.

    Raises:
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, root: str, tokenizer_fingerprint: str) -> None:
        super().__init__(object_storage.join(root, f"{tokenizer_fingerprint}-features"))

    def known(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that are cached.

        Raises:
            StorageError: the cache cannot be read.
        """
        tables = self.tables(keys, columns=["key"])
        return {key for table in tables for key in table.column("key").to_pylist()}

    def lookup(self, keys: Iterable[str]) -> dict[str, Features]:
        """The features of the keys that are cached.

        Raises:
            StorageError: the cache cannot be read.
        """
        found: dict[str, Features] = {}
        for table in self.tables(keys):
            rows = zip(*(table.column(name) for name in ("key", "layers", "features")), strict=True)
            for key, layers, features in rows:
                found[key.as_py()] = np.array(features.values, dtype=np.float32).reshape(layers.as_py(), -1)
        return found

    def add(self, entries: Mapping[str, Features]) -> str:
        """Writes one shard and returns its name.

        Raises:
            StorageError: it cannot be written.
        """
        pa, keys = self.arrow, sorted(entries)
        columns = {
            "key": pa.array(keys, pa.string()),
            "layers": pa.array([len(entries[key]) for key in keys], pa.int32()),
            "features": pa.array([entries[key].ravel() for key in keys], pa.list_(pa.float32())),
        }
        return self.add_table(pa.table(columns))
