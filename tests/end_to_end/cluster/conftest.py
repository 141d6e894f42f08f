"""One local cluster for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.errors import SpeechPromptError
from infra.local_cluster import cluster as local_cluster
from infra.local_cluster.cluster import Cluster
from tests.fixtures.mlflow_server import copy_store
from tests.fixtures.ray_cluster import ATTEMPTS


def _up(directory: Path) -> Cluster:
    for _ in range(ATTEMPTS - 1):
        try:
            return local_cluster.up(directory, cpus=2)
        except SpeechPromptError:
            continue
    return local_cluster.up(directory, cpus=2)


@pytest.fixture(scope="package")
def cluster(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Ray, S3 and MLflow; nothing of them is left at the end."""
    directory = tmp_path_factory.mktemp("cluster")
    # Open to everybody, were it not that the cluster closes it; as it would be what it makes under this umask.
    directory.chmod(0o755)
    copy_store(empty_store, directory)
    umask = os.umask(0o022)
    try:
        with pytest.MonkeyPatch.context() as patch:
            # Of the Ray of other tests, where this process has started one.
            patch.delenv("RAY_enable_metrics_collection", raising=False)
            running = _up(directory)
    finally:
        os.umask(umask)
    temporary = running.temporary
    processes = [process for service in running.services for process in service._members()]
    assert len(processes) > len(running.services)
    yield running
    Cluster.load(directory).down()
    for service in running.services:
        service.stop()  # harmless by now; the parent of the processes must reap them
    assert not [process for process in processes if process.is_running()]
    assert temporary is not None
    assert not temporary.exists()
    assert not (directory / "env.sh").exists()
    assert list((directory / "logs").glob("session_*/gcs_server.out"))
