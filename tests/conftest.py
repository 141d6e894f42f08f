"""Fixtures every test may ask for."""

from __future__ import annotations

pytest_plugins = ["tests.fixtures.mlflow_server", "tests.fixtures.ray_cluster", "tests.fixtures.s3_server"]
