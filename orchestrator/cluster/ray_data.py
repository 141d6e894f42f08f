"""Ray Data on JSON rows, without its own progress bars and log lines."""

from __future__ import annotations

import json
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from infra.errors import SpeechPromptError, StorageError

if TYPE_CHECKING:
    import pyarrow
    from ray.data import DataContext, Dataset

Row = dict[str, Any]

LOG_LEVELS = {
    "ray.data": logging.WARNING,
    # It writes a traceback for each dead worker; users get a sentence about the recording.
    "ray.data._internal.execution.streaming_executor_state": logging.CRITICAL,
}
"""Log levels of Ray Data's loggers."""


class WorkerBug(RuntimeError):
    """An unexpected error in a worker, with its traceback."""


@contextmanager
def _settings() -> Iterator[None]:
    """Make Ray Data skip blocks whose workers died, and hide its progress bars and log lines but not its warnings."""
    from ray.data import DataContext

    context = DataContext.get_current()
    ours = {"enable_progress_bars": False, "print_on_execution_start": False, "max_errored_blocks": -1}
    before = {name: getattr(context, name) for name in ours}
    levels = {logging.getLogger(name): level for name, level in LOG_LEVELS.items()}
    levels_before = {logger: logger.level for logger in levels}
    _set(context, ours, levels)
    try:
        yield
    finally:
        _set(context, before, levels_before)


@contextmanager
def _retries_unremarked() -> Iterator[None]:
    """Hide the warning of Ray 2.60 about ``max_retries`` and ``max_task_retries``, which cannot be set in another way
    yet."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", DeprecationWarning)
        yield


def _set(context: DataContext, values: Mapping[str, Any], levels: Mapping[logging.Logger, int]) -> None:
    for name, value in values.items():
        setattr(context, name, value)
    for logger, level in levels.items():
        logger.setLevel(level)


def json_dataset(rows: Sequence[Row], *, rows_per_block: int, workers: int) -> Dataset:
    """Return a dataset with one column, ``json``, so that its type does not depend on which fields of a row are empty.

    Args:
        rows: JSON values.
        rows_per_block: largest number of rows in a block; fewer if workers would be idle otherwise.
        workers: number of workers that will process it.
    """
    import ray.data

    blocks = max(-(-len(rows) // rows_per_block), min(workers, len(rows)))
    return ray.data.from_items([{"json": json.dumps(row)} for row in rows], override_num_blocks=blocks)


def read_rows(batch: pyarrow.Table) -> list[Row]:
    """Return the rows of a batch of ``json_dataset``."""
    return [json.loads(row) for row in batch.column("json").to_pylist()]


def write_rows(rows: Sequence[Row]) -> pyarrow.Table:
    """Return rows as a batch; the inverse of ``read_rows``."""
    import pyarrow

    return pyarrow.table({"json": pyarrow.array([json.dumps(row) for row in rows], pyarrow.string())})


def compute(
    rows: Sequence[Row],
    stage: Callable[[Dataset, bool], Dataset],
    *,
    key: str,
    rows_per_block: int,
    workers: int,
    done: Callable[[int], None],
) -> Iterator[tuple[list[Row], pyarrow.Table]]:
    """Process rows and yield the rows of each resulting block, and the block, as they become ready.

    A row that kills its worker takes along the others of its block, and sometimes blocks that wait for the same worker.
    These rows are processed again, one per block, until a pass yields nothing: rows without a result then have killed
    their workers even alone.

    Args:
        rows: rows to process, each with its own ``key``, which its result has too.
        stage: function from a dataset of rows and whether each row has its own block to the dataset of their results,
            using ``answer``. It must limit how often Ray repeats a call whose worker died: by default Ray never gives
            up.
        key: name of the field that identifies a row.
        rows_per_block, workers: arguments of ``json_dataset``.
        done: function called with the number of rows of each block.

    Raises:
        StorageError: a worker raised a ``SpeechPromptError``.
        WorkerBug: a worker raised another error.
    """
    left, alone = {row[key]: row for row in rows}, False
    while left:
        before = len(left)
        # Includes making the dataset, which keeps the settings of that moment.
        with _settings():
            size = 1 if alone else rows_per_block
            dataset = json_dataset(list(left.values()), rows_per_block=size, workers=workers)
            with _retries_unremarked():
                dataset = stage(dataset, alone)
            for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
                found = checked_rows(block)
                for row in found:
                    del left[row[key]]
                yield found, block
                done(len(found))
        if alone and len(left) == before:
            return
        alone = True


def answer(make: Callable[[list[Row]], pyarrow.Table], batch: pyarrow.Table) -> pyarrow.Table:
    """Apply ``make`` to a batch in a worker, and return errors as rows: Ray would wrap an exception in its own
    traceback, and ``compute`` could not tell it from a dead worker."""
    try:
        return make(read_rows(batch))
    except SpeechPromptError as error:
        return write_rows([{"error": str(error)}])
    except Exception:  # noqa: BLE001  raised again in the driver
        return write_rows([{"bug": traceback.format_exc()}])


def checked_rows(block: pyarrow.Table) -> list[Row]:
    """Return the rows of a block.

    Raises:
         StorageError: a worker raised a ``SpeechPromptError``.
         WorkerBug: a worker raised another error.
    """
    rows = read_rows(block)
    for row in rows:
        if row.get("error"):
            raise StorageError(row["error"])
        if row.get("bug"):
            raise WorkerBug(row["bug"])
    return rows
