"""What Ray raises, as one sentence with a remedy."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import JobError, SpeechPromptError, StorageError
from orchestrator.failure_text import cause_of
from orchestrator.ray_place import place_for_ray

OF_THE_CLUSTER = re.compile(
    r"cluster was started with:\s+Ray: (?P<ray>\S+)\s+Python: (?P<python>\S+)"
    r".*?process.*?started with:\s+Ray: (?P<our_ray>\S+)\s+Python: (?P<our_python>\S+)",
    re.DOTALL,
)
ARROW_REFUSED = re.compile(r"AWS Error (\w+) during (\w+) operation")
"""What Arrow says, through which Ray writes to S3."""
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


def start_fault(error: Exception, address: str | None, sessions: Path | None = None) -> JobError:
    """Why Ray did not start, with its files in ``sessions``, or did not let this process join the cluster at
    ``address``."""
    said = str(error)
    if refused := _refusal(error):
        return refused
    if versions := OF_THE_CLUSTER.search(said):
        return JobError(
            f"RAY_ADDRESS: the cluster at {address} has Ray {versions['ray']} and Python {versions['python']}, this "
            f"machine Ray {versions['our_ray']} and Python {versions['our_python']}; install the same versions here, "
            "or use 'speechprompt submit', which runs there"
        )
    if address is not None:
        return JobError(
            f"RAY_ADDRESS: no Ray cluster answers at {address} ({_first_line(error)}); start it, or unset RAY_ADDRESS "
            "to run here"
        )
    variable, directory = place_for_ray()
    if "AF_UNIX path" in said:
        return JobError(f"{variable}: {directory} is too long for Ray's sockets; set RAY_TMPDIR to a short path")
    if isinstance(error, OSError) and error.filename is not None:
        remedy = (
            "make room there, or name another place" if error.errno in NO_ROOM else "name a place that can be written"
        )
        return JobError(f"{variable}: Ray cannot use {error.filename} ({error.strerror}); {remedy} by RAY_TMPDIR")
    if re.search(r"object store|/dev/shm|plasma", said, re.IGNORECASE):
        return JobError(
            f"Ray cannot make its object store ({_first_line(error)}); give /dev/shm more room, as with docker run "
            "--shm-size=4g, and unset RAY_OBJECT_STORE_* and RAY_DEFAULT_OBJECT_STORE_*"
        )
    logs = (sessions or Path(directory)) / "session_latest" / "logs"
    if re.search("timed out|timeout", said, re.IGNORECASE):
        return JobError(
            f"Ray did not start in time; run it again when this machine is less busy, or read why in {logs}"
        )
    return JobError(f"Ray cannot be started ({_first_line(error)}); read why in {logs}")


@contextmanager
def rays_faults_explained() -> Iterator[None]:
    """Turn what Ray raises in the block into one sentence; errors of our own come out of its tasks as they were raised.

    Raises:
        JobError: why Ray could not go on.
        StorageError: S3 refuses what Ray writes.
    """
    try:
        yield
    except Exception as error:
        # Of a task, Ray raises a class of its own that is also the cause's class, whose text is the whole traceback.
        cause = getattr(error, "cause", error)
        if refused := ARROW_REFUSED.search(str(error)):
            raise StorageError(
                f"S3 refused what Ray stores there ({refused[1]} at {refused[2]}); check the credentials, the region "
                "and the endpoint in the environment in which Ray runs"
            ) from error
        if not is_rays(error) or (cause is error and isinstance(error, SpeechPromptError)):
            raise
        if isinstance(cause, SpeechPromptError):
            raise cause from error
        raise run_fault(error) from error


def run_fault(error: Exception) -> JobError:
    """Why Ray could not go on."""
    if refused := _refusal(error):
        return refused
    said, name = str(error), type(error).__name__
    if "RuntimeEnvSetup" in name:
        return JobError(
            f"Ray cannot set up the runtime environment of its workers ({_last_line(said)}); correct the runtime_env "
            "of the job or of the cluster"
        )
    if name in ("ObjectStoreFullError", "OutOfDiskError"):
        return JobError(
            "Ray's object store and the disk it spills to are full; give /dev/shm or RAY_TMPDIR more room, or run "
            "fewer workers (resources.workers)"
        )
    if name == "GetTimeoutError" or "nschedulable" in name:
        return JobError(
            "Ray did not get to it in time; submit the job again when the cluster is less busy, or ask for less under "
            "resources"
        )
    cause = cause_of(said) or name
    return JobError(cause if "; " in cause else f"Ray failed ({cause}); submit the job again, and it goes on")


def _refusal(error: Exception) -> JobError | None:
    refused = type(error).__name__ == "AuthenticationError" or "Unauthenticated" in str(error)
    if not refused:
        return None
    return JobError(
        "the Ray cluster refuses the token of this machine; put the cluster's into RAY_AUTH_TOKEN or "
        "~/.ray/auth_token, or set RAY_AUTH_MODE=disabled where it has none"
    )


def is_rays(error: BaseException) -> bool:
    """Whether it is of a class of Ray's."""
    return any(kind.__module__.partition(".")[0] == "ray" for kind in type(error).__mro__)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "").strip().rstrip(".") or type(error).__name__


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else "no reason given"
