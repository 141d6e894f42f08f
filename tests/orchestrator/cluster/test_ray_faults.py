"""What Ray raises, as one sentence."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from ray.exceptions import (
    ActorUnschedulableError,
    AuthenticationError,
    GetTimeoutError,
    ObjectStoreFullError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
)

from infra.errors import BackboneError, JobError, RayFailed, StorageError
from orchestrator.cluster.failures import rays_faults_explained, start_fault

OTHER_VERSION = """Version mismatch: The cluster was started with:
    Ray: 2.9.3
    Python: 3.10.12
This process on Ray Client was started with:
    Ray: 2.60.0
    Python: 3.11.9
"""
AF_UNIX = "validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes: /tmp/x"
NODE = "The current node timed out during startup. This could happen because some of the raylet failed to startup"
STORE = "Attempting to cap object store memory usage at 1000 bytes, but the minimum allowed is 78643200 bytes."
SHM = "The configured object store size (30 GB) exceeds /dev/shm size (0.06 GB). This will harm performance."


@pytest.mark.parametrize(
    ("error", "address", "said"),
    [
        (OSError(AF_UNIX), None, "is too long for Ray's sockets; set RAY_TMPDIR to a short path"),
        (Exception(NODE), None, "Ray did not start in time; run it again when this machine is less busy"),
        (ValueError(STORE), None, "Ray cannot make its object store (Attempting to cap"),
        (ValueError(SHM), None, "enlarge /dev/shm, for example with docker run --shm-size=4g"),
        (OSError(errno.ENOSPC, "No space left on device", "/t/ray"), None, "Ray cannot use /t/ray (No space left on"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/t"),
            None,
            "set a place that can be written with RAY_TMPD",
        ),
        (RuntimeError("weird\nand long"), None, "Ray cannot be started (weird); see the logs in "),
        (
            AuthenticationError("Authentication failed"),
            "h:1",
            "refuses the token of this machine; put the cluster's token in",
        ),
        (
            RuntimeError(OTHER_VERSION),
            "h:1",
            "has Ray 2.9.3 and Python 3.10.12, this machine Ray 2.60.0 and Python 3.1",
        ),
        (ConnectionError("gone"), "h:1", "RAY_ADDRESS: no Ray cluster answers at h:1 (gone); start it, or unset"),
        (RuntimeError(""), "h:1", "(RuntimeError); start it"),
    ],
)
def test_why_ray_did_not_start(error: Exception, address: str | None, said: str) -> None:
    found = str(start_fault(error, address))
    assert said in found
    assert "\n" not in found
    assert "; " in found


def of_a_task(cause: Exception) -> Exception:
    raised: Any = RayTaskError
    error: Exception = raised("f", "Traceback\n  x\n" + repr(cause), cause).as_instanceof_cause()
    return error


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: of_a_task(BackboneError("b: wrong; mend it")), "b: wrong; mend it"),
        (
            lambda: RuntimeEnvSetupError("Failed to set up\npip: no torch"),
            "runtime environment of its workers (pip: no",
        ),
        (lambda: ObjectStoreFullError("full"), "object store and the disk it spills to are full; give /dev/shm"),
        (lambda: GetTimeoutError("slow"), "Ray did not schedule the work in time; submit the job again when"),
        (lambda: ActorUnschedulableError("no GPU"), "lower the job's resources"),
        (lambda: AuthenticationError("no"), "put the cluster's token into RAY_AUTH_TOKEN"),
        (lambda: RayError("odd"), "Ray failed (odd); submit the job again, and it goes on"),
    ],
)
def test_why_ray_could_not_go_on(make: Callable[[], Exception], said: str) -> None:
    with pytest.raises((JobError, RayFailed, BackboneError)) as raised, rays_faults_explained():
        raise make()
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_arrow_speaks_of_s3() -> None:
    said = "When uploading part for key 'x' in bucket 'b': AWS Error ACCESS_DENIED during UploadPart operation: no"
    with (
        pytest.raises(StorageError, match=r"ACCESS_DENIED at UploadPart\); check the credentials"),
        rays_faults_explained(),
    ):
        raise OSError(said)


def test_other_errors_are_left_alone() -> None:
    for error in (BackboneError("b: wrong; mend it"), KeyError("ours"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, rays_faults_explained():
            raise error
        assert raised.value is error
