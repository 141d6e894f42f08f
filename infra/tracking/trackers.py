"""The trackers there are, by the scheme of their addresses."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from infra.tracking.mlflow_store import MLflowStore
from infra.tracking.store import Store

TRACKERS: Final[dict[str, type[Store]]] = {
    "databricks": MLflowStore,
    "http": MLflowStore,
    "https": MLflowStore,
    "mssql": MLflowStore,
    "mysql": MLflowStore,
    "postgresql": MLflowStore,
    "sqlite": MLflowStore,
}
"""By scheme, without a driver: ``postgresql`` stands for ``postgresql+psycopg2://`` too."""


def tracker_of(uri: str) -> type[Store]:
    """The tracker of an address; MLflow's for a scheme that nobody has registered, as its plug-ins may know it."""
    return TRACKERS.get(uri.partition(":")[0].partition("+")[0].lower(), MLflowStore)


def check(uri: str, *, experiment: str | None = None) -> None:
    """`Store.check` of the address's tracker."""
    tracker_of(uri).check(uri, experiment=experiment)


def end_left_runs(uri: str, experiment: str, keys: Collection[str]) -> int:
    """`Store.end_left_runs` of the address's tracker."""
    return tracker_of(uri).end_left_runs(uri, experiment, keys)
