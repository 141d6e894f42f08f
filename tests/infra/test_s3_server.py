from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra import object_storage as storage
from infra.errors import StorageError
from infra.local_cluster.s3_server import start_s3_server
from infra.local_cluster.service import free_port


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sp", dir="/tmp") as name:
        yield Path(name)


@pytest.mark.servers
def test_keeps_its_data_over_a_restart(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for round_ in range(2):
        service = start_s3_server(directory, port=free_port(), access_key="key", secret_key="a-secret", bucket="kept")
        try:
            for name, value in service.env.items():
                monkeypatch.setenv(name, value)
            assert storage.write_if_absent("s3://kept/file", b"first") == (round_ == 0)
            assert storage.read_bytes("s3://kept/file") == b"first"
            assert "a-secret" not in " ".join(psutil.Process(service.pid).cmdline()) + repr(service)
        finally:
            service.stop()
        assert not psutil.pid_exists(service.pid)
    assert stat.S_IMODE((directory / "s3.json").stat().st_mode) == 0o600


def test_refuses_a_bucket_name_that_s3_would_refuse(directory: Path) -> None:
    with pytest.raises(StorageError, match="'B'"):
        start_s3_server(directory, port=free_port(), access_key="key", secret_key="secret", bucket="B")
