"""Ray Data as this product uses it: JSON rows in, rows out, without its own progress bars and log lines."""

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
    # It writes a traceback for each worker that died; users are told of the recording.
    "ray.data._internal.execution.streaming_executor_state": logging.CRITICAL,
}
"""Of Ray Data's loggers, while this product uses it."""


class WorkerBug(RuntimeError):
    """What no worker should have raised, with its traceback."""


@contextmanager
def _settings() -> Iterator[None]:
    """Ray Data goes on without blocks whose workers died, and shows no progress bars and log lines of its own; warnings
    still come through."""
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
    """Without the warning that Ray 2.60 shows for ``max_retries`` and ``max_task_retries``, which have no other way yet
    to reach its tasks and actors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", DeprecationWarning)
        yield


def _set(context: DataContext, values: Mapping[str, Any], levels: Mapping[logging.Logger, int]) -> None:
    for name, value in values.items():
        setattr(context, name, value)
    for logger, level in levels.items():
        logger.setLevel(level)


def json_dataset(rows: Sequence[Row], *, rows_per_block: int, workers: int) -> Dataset:
    """A dataset with one column, ``json``: a row's type does not depend on which of its fields are empty.

    Args:
        rows: JSON values.
        rows_per_block: neighbouring rows that stay together, at most; fewer where that leaves workers idle.
        workers: how many will work on it.
    """
    import ray.data

    blocks = max(-(-len(rows) // rows_per_block), min(workers, len(rows)))
    return ray.data.from_items([{"json": json.dumps(row)} for row in rows], override_num_blocks=blocks)


def read_rows(batch: pyarrow.Table) -> list[Row]:
    """The rows of a batch of ``json_dataset``."""
    return [json.loads(row) for row in batch.column("json").to_pylist()]


def write_rows(rows: Sequence[Row]) -> pyarrow.Table:
    """The reverse of ``read_rows``."""
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
    """The blocks that come of rows, and the rows in them, in the order in which they are ready.

    A row that kills its worker takes the others of its block with it, and at times those that wait for the same worker.
    They are computed again, each alone, until nothing more comes of it: what never comes back has killed its workers
    also when it was alone.

    Args:
        rows: what to compute, each with another ``key``; what comes of it has the same key.
        stage: from the dataset of some of them to that of their results, by ``answer``; told whether each is alone. How
            often Ray repeats a call whose worker died must be limited: by itself it never gives up.
        key: name of the field.
        rows_per_block, workers: as for ``json_dataset``.
        done: called with the number of rows of each block.

    Raises:
        StorageError: a worker met it.
        WorkerBug: a worker raised something else.
    """
    left, alone = {row[key]: row for row in rows}, False
    while left:
        before = len(left)
        # Around the making of the dataset, too: it keeps the settings of that moment.
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
    """What a worker answers to a batch. Errors come as rows: Ray would wrap an exception in pages of its own traceback,
    and ``compute`` could not tell it from a death."""
    try:
        return make(read_rows(batch))
    except SpeechPromptError as error:
        return write_rows([{"error": str(error)}])
    except Exception:  # noqa: BLE001  raised again in the driver
        return write_rows([{"bug": traceback.format_exc()}])


def checked_rows(block: pyarrow.Table) -> list[Row]:
    """Rows of a block.

    Raises:
        StorageError: a worker met it.
        WorkerBug: a worker raised something else.
    """
    rows = read_rows(block)
    for row in rows:
        if row.get("error"):
            raise StorageError(row["error"])
        if row.get("bug"):
            raise WorkerBug(row["bug"])
    return rows
