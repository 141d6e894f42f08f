"""What was computed of clips before, by content, in Parquet files of many clips: the ground of every cache beside the
tokenizer.

A shard is written once, whole, and never changed: any number of workers write and read at the same time, and
a killed run leaves only complete shards behind. One that is not what its name says is as good as absent: its clips are
computed again.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from infra import object_storage
from infra.errors import DamagedFile, MissingExtra, ObjectNotFound, StorageError
from workers.job_store.files import UNIT_SHARD

if TYPE_CHECKING:
    import pyarrow

_SHARD: Final = re.compile(r"[0-9a-f]{32}\.parquet")
_READERS: Final = 8


class ShardCache:
    """Args:
        directory: local directory or ``s3://`` prefix of the shards; made when first written to.

    Attributes:
        damaged: of each shard that was met and is not what its name says, a sentence.

    Raises:
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, directory: str) -> None:
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise MissingExtra("pyarrow", "train") from error
        self._parquet = pyarrow.parquet
        self.arrow = pyarrow
        self.damaged: dict[str, str] = {}
        self.directory = directory

    def tables(
        self, keys: Iterable[str], *, shards: Sequence[str] | None = None, columns: list[str] | None = None
    ) -> Iterator[pyarrow.Table]:
        """The rows of some clips, shard by shard.

        Args:
            keys: of ``content_key``, the column ``key`` of every shard.
            shards: names that ``add_table`` returned, to look only there; ``None`` means all there are.
            columns: those to read; ``None`` means all.

        Raises:
            StorageError: the cache cannot be read.
        """
        wanted = set(keys)
        if not wanted:
            return
        if shards is None:
            shards = [name for name in object_storage.list_files(self.directory) if _SHARD.fullmatch(name)]
        with ThreadPoolExecutor(_READERS) as pool:
            for table in pool.map(lambda name: self._read(name, columns), shards):
                if table is None:
                    continue
                chosen = [row for row, key in enumerate(table.column("key").to_pylist()) if key in wanted]
                if chosen:
                    yield table.take(chosen).combine_chunks()

    def add_table(self, table: pyarrow.Table) -> str:
        """Writes one shard and returns its name.

        Raises:
            StorageError: it cannot be written.
        """
        buffer = io.BytesIO()
        self._parquet.write_table(table, buffer, compression="zstd")
        data = buffer.getvalue()
        name = _name(data)
        object_storage.write_addressed(object_storage.join(self.directory, name), data)
        return name

    def remove_damaged(self) -> list[str]:
        """Remove the shards that were met and are not what their names say; returns what is to be said of each."""
        for name, said in self.damaged.items():
            try:
                object_storage.remove(object_storage.join(self.directory, name))
            except StorageError as error:
                self.damaged[name] = f"{said}; {error}"
        return list(self.damaged.values())

    def _read(self, name: str, columns: list[str] | None) -> pyarrow.Table | None:
        uri = object_storage.join(self.directory, name)
        try:
            data = object_storage.read_own(uri, limit=UNIT_SHARD.limit)
        except ObjectNotFound:
            # Damaged, and removed by another job since it was listed.
            return None
        except DamagedFile as error:
            self.damaged[name] = str(UNIT_SHARD.damaged(uri, error.message))
            return None
        if _name(data) != name:
            self.damaged[name] = str(UNIT_SHARD.damaged(uri, "is not what its name says"))
            return None
        return self._parquet.read_table(io.BytesIO(data), columns=columns)


def _name(shard: bytes) -> str:
    return f"{hashlib.sha256(shard).hexdigest()[:32]}.parquet"
