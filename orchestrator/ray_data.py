"""Ray Data as this product uses it: JSON rows in, rows out, without its own progress bars and log lines."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from infra.errors import SpeechPromptError, StorageError

if TYPE_CHECKING:
    import pyarrow
    from ray.data import Dataset

Row = dict[str, Any]


class WorkerBug(RuntimeError):
    """What no worker should have raised, with its traceback."""


@contextmanager
def _settings(*, survive: bool) -> Iterator[None]:
    from ray.data import DataContext

    context = DataContext.get_current()
    logger = logging.getLogger("ray.data")
    names = ("enable_progress_bars", "print_on_execution_start", "max_errored_blocks")
    before, level = [getattr(context, name) for name in names], logger.level
    for name, value in zip(names, (False, False, -1 if survive else 0), strict=True):
        setattr(context, name, value)
    logger.setLevel(logging.CRITICAL if survive else logging.WARNING)
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(context, name, value)
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


def drain(dataset: Dataset, *, done: Callable[[int], None]) -> Iterator[pyarrow.Table]:
    """The blocks of a dataset, in the order in which they are ready, without Ray Data's progress bars and log lines.

    Args:
        dataset: what to compute.
        done: called with the number of rows of each block.
    """
    with _settings(survive=False):
        yield from _blocks(dataset, done)


def _blocks(dataset: Dataset, done: Callable[[int], None]) -> Iterator[pyarrow.Table]:
    for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield block
        done(len(block))


def compute_rows(
    rows: Sequence[Row],
    compute: Callable[[Dataset, bool], Dataset],
    *,
    key: str,
    rows_per_block: int,
    workers: int,
    done: Callable[[int], None],
) -> dict[str, Row]:
    """Rows made of rows, by key, in the order in which they are ready.

    A row that kills its worker takes the others of its block with it, and at times those that wait for the same worker.
    They are computed again, each alone, until nothing more comes of it.

    Args:
        rows: what to compute, each with another ``key``; what comes of it has the same key.
        compute: the dataset of some of them to that of their results, by ``answer``; told whether each is alone. How
            often Ray repeats a call whose worker died must be limited: by itself it never gives up.
        key: name of the field.
        rows_per_block, workers: as for ``json_dataset``.
        done: called with the number of rows of each block.

    Returns:
        All but those whose workers died also when they were alone.

    Raises:
        StorageError: a worker met it.
        WorkerBug: a worker raised something else.
    """
    found: dict[str, Row] = {}
    left, alone = list(rows), False
    while left:
        size = 1 if alone else rows_per_block
        before = len(found)
        # Around the making of the dataset, too: it keeps the settings of that moment.
        with _settings(survive=True):
            dataset = compute(json_dataset(left, rows_per_block=size, workers=workers), alone)
            for block in _blocks(dataset, done):
                found |= {row[key]: row for row in checked_rows(block)}
        if alone and len(found) == before:
            break
        left, alone = [row for row in left if row[key] not in found], True
    return found


def answer(make: Callable[[list[Row]], list[Row]], batch: pyarrow.Table) -> pyarrow.Table:
    """What a worker answers to a batch. Errors come as rows: Ray would wrap an exception in pages of its own traceback,
    and ``compute_rows`` could not tell it from a death."""
    try:
        return write_rows(make(read_rows(batch)))
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
