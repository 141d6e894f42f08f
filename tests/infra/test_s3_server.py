from __future__ import annotations

import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra import object_storage as storage
from infra.errors import StorageError
from infra.local_cluster.s3_server import start_s3_server
from infra.local_cluster.service import Service, free_port
from tests.fixtures.s3_server import BUCKET, SECRET_KEY


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sp", dir="/tmp") as name:
        yield Path(name)


def test_keeps_its_data_over_a_restart(
    directory: Path, monkeypatch: pytest.MonkeyPatch, start_s3: Callable[[Path], Service]
) -> None:
    kept = f"s3://{BUCKET}/file"
    for round_ in range(2):
        service = start_s3(directory)
        for name, value in service.env.items():
            monkeypatch.setenv(name, value)
        assert storage.write_if_absent(kept, b"first") == (round_ == 0)
        assert storage.read_bytes(kept) == b"first"
        assert SECRET_KEY not in " ".join(psutil.Process(service.pid).cmdline()) + repr(service)
        service.stop()
        assert not psutil.pid_exists(service.pid)
    assert stat.S_IMODE((directory / "s3.json").stat().st_mode) == 0o600


def test_refuses_a_bucket_name_that_s3_would_refuse(directory: Path) -> None:
    with pytest.raises(StorageError, match="'B'"):
        start_s3_server(directory, port=free_port(), access_key="key", secret_key="secret", bucket="B")
