"""Ray Data as this product uses it: JSON rows in, rows out, without its own progress bars and log lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow
    from ray.data import Dataset

Row = dict[str, Any]


@contextmanager
def quiet_ray_data() -> Iterator[None]:
    """Silences Ray Data in this process for the time of the block; warnings and errors still come through."""
    from ray.data import DataContext

    context = DataContext.get_current()
    logger = logging.getLogger("ray.data")
    bars, banner, level = context.enable_progress_bars, context.print_on_execution_start, logger.level
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        context.enable_progress_bars, context.print_on_execution_start = bars, banner
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
    """The blocks of a dataset, in the order in which they are ready.

    Args:
        dataset: what to compute.
        done: called with the number of rows of each block.
    """
    with quiet_ray_data():
        for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield block
            done(len(block))
