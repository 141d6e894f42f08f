"""Servers are started by those tests alone whose tier says so."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("command", "fixtures"),
    [
        (["/somewhere/weed", "mini"], "cluster, s3, start_s3"),
        ([sys.executable, "-m", "mlflow", "server"], "cluster, mlflow_server, start_mlflow"),
        (["/somewhere/gcs_server"], "cluster, own_ray, ray_cluster"),
    ],
)
def test_a_server_that_a_test_has_not_asked_for_is_refused(command: list[str], fixtures: str) -> None:
    with pytest.raises(RuntimeError, match=f"must ask for one of the fixtures {fixtures}$"):
        subprocess.Popen(command)
