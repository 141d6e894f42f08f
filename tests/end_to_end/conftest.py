"""Jobs that have run, for all tests of this folder; here, since their imports take seconds."""

from tests.fixtures.local_job import first_run, toy_backbone, toy_job  # noqa: F401
from tests.fixtures.varied_job import varied, varied_again  # noqa: F401
