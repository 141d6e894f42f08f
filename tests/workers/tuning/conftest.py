"""The bench of gangs, for all tests of this folder."""

from tests.fixtures.gang_bench import bench, silent_tracking  # noqa: F401
