"""Fixtures every test may ask for."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = [
    "tests.fixtures.mlflow_server",
    "tests.fixtures.ray_cluster",
    "tests.fixtures.s3_server",
    "tests.fixtures.witness",
]

# A busy machine is no failure, and a failure must come again.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
