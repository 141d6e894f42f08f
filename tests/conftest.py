"""Fixtures every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# At the sizes of tests threads wait for each other a hundred times longer than they compute; before torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray's workers step back for everything else (nice 15): beside the other process of tests they would hardly get on.
os.environ.setdefault("RAY_worker_niceness", "0")

pytest_plugins = [
    "tests.fixtures.answering",
    "tests.fixtures.mlflow_server",
    "tests.fixtures.ray_cluster",
    "tests.fixtures.s3_server",
    "tests.fixtures.shared_cases",
    "tests.fixtures.sharing_out",
    "tests.fixtures.small_disk",
    "tests.fixtures.tiers",
    "tests.fixtures.witness",
]

# A busy machine is no failure, and a failure must come again.
settings.register_profile("steady", deadline=None, derandomize=True)
# Of ``make check``; the whole suite takes the usual hundred examples.
settings.register_profile("quick", settings.get_profile("steady"), max_examples=25)
settings.load_profile("steady")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes name no test: the two processes that share out the tests would make files of different times of them."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session", autouse=True)
def _cache_of_these_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEECHPROMPT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
