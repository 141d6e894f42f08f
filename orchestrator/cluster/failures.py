"""Ray's errors as one sentence with a remedy."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import JobError, RayFailed, SpeechPromptError, StorageError
from orchestrator.cluster.ray_place import place_for_ray

DIED = re.compile(r"Worker exit detail: (?P<detail>.+?\.)(?: |$)(?P<code>Worker exits with an exit code \d+\.)?")
"""Ray's message about a worker whose process ended, without the causes that it guesses."""

WORKER_DIED = "its worker process died"
WORKER_OUT_OF_MEMORY = "its worker was killed because the machine ran out of memory"

OUT_OF_MEMORY = ("NODE_OUT_OF_MEMORY", "running low on memory", "ray.exceptions.OutOfMemoryError")
"""Ray's messages about a worker that its memory monitor killed."""

REFUSED_WRITE = re.compile("No space left on device|Read-only file system|Disk quota exceeded|Input/output error")
"""The system's messages about a disk that cannot be written."""

RAISED = re.compile(r"[\w.]*(Error|Exception): ")
"""Start of a line that names an error's type; this product's sentences have none."""

QUOTED_PATH = re.compile(r"'(/[^']+)'")

LOST_NODE = (
    "the actor's node was ",
    "because its node has died",
    "Owner's node has crashed",
    "The actor never ran - it was cancelled",
)
"""Ray's messages about an actor whose node, or whose driver's node, is lost."""


def lost_with_its_node(noted: str) -> bool:
    """Return whether a failure is due to a lost node, not to what ran on it."""
    return any(mark in noted for mark in LOST_NODE)


def lost_with_its_worker(cause: str) -> bool:
    """Return whether a cause from ``cause_of`` is a worker process that was killed or ended without an exception."""
    return cause.startswith((WORKER_DIED, WORKER_OUT_OF_MEMORY))


def place_refused(noted: str) -> str | None:
    """Return as a sentence why a worker could not write to disk; ``None`` for any other failure."""
    last = next(reversed(noted.strip().splitlines()), "").strip()
    refused = REFUSED_WRITE.search(last)
    if refused is None:
        return None
    if last.startswith("infra.errors."):
        last = last.partition(": ")[2]
    if not RAISED.match(last):
        return last
    named = QUOTED_PATH.search(last)
    where = f"{named[1]} cannot be written" if named else "workers' files cannot be written"
    remedy = "make room there" if named else "make room in storage and in the nodes' temporary directories"
    return f"{where} ({refused[0]}); {remedy}, then submit the job again, and it goes on"


def cause_of(noted: str) -> str:
    """Return the cause of a failure as one sentence: that of a ``SpeechPromptError``, how a worker process ended, or
    else the last line, with the error's type and message; empty if there is none."""
    text = noted.strip()
    if any(mark in text for mark in OUT_OF_MEMORY):
        return f"{WORKER_OUT_OF_MEMORY}; lower recipe.batch_size or gang, or run fewer workers (resources.workers)"
    if lost_with_its_node(text):
        return "its node was lost; submit the job again, and its lanes go on from their last checkpoint"
    died = DIED.search(text)
    if died:
        detail = f"{died['detail']} {died['code'] or ''}".strip().rstrip(".")
        return f"{WORKER_DIED} ({detail}); see Ray's logs, and dmesg for a kill for lack of memory"
    lines = text.splitlines()
    last = lines[-1].strip() if lines else ""
    if last.partition(":")[0] in ("MemoryError", "torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError"):
        return f"out of memory ({last}); lower recipe.batch_size or gang"
    module, colon, message = last.partition(": ")
    return message if colon and module.startswith("infra.errors.") else last


OF_THE_CLUSTER = re.compile(
    r"cluster was started with:\s+Ray: (?P<ray>\S+)\s+Python: (?P<python>\S+)"
    r".*?process.*?started with:\s+Ray: (?P<our_ray>\S+)\s+Python: (?P<our_python>\S+)",
    re.DOTALL,
)
ARROW_REFUSED = re.compile(r"AWS Error (\w+) during (\w+) operation")
"""Errors of Arrow, through which Ray writes to S3."""
SLOW = re.compile(r"timed out|timeout|Failed to start GCS|failed to (start|connect|register)", re.IGNORECASE)
"""Ray's messages about one of its processes that does not answer in time."""
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


def start_fault(error: Exception, address: str | None, sessions: Path | None = None) -> JobError | RayFailed:
    """Return why Ray did not start with its files in ``sessions``, or why this process could not join the cluster at
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
        return RayFailed(
            f"RAY_ADDRESS: no Ray cluster answers at {address} ({_first_line(error)}); start it, or unset RAY_ADDRESS "
            "to run here"
        )
    variable, directory = place_for_ray()
    if "AF_UNIX path" in said:
        return JobError(f"{variable}: {directory} is too long for Ray's sockets; set RAY_TMPDIR to a short path")
    if isinstance(error, OSError) and error.filename is not None:
        remedy = (
            "make room there, or set another place" if error.errno in NO_ROOM else "set a place that can be written"
        )
        return JobError(f"{variable}: Ray cannot use {error.filename} ({error.strerror}); {remedy} with RAY_TMPDIR")
    if re.search(r"object store|/dev/shm|plasma", said, re.IGNORECASE):
        return JobError(
            f"Ray cannot make its object store ({_first_line(error)}); enlarge /dev/shm, for example with docker run "
            "--shm-size=4g, and unset RAY_OBJECT_STORE_* and RAY_DEFAULT_OBJECT_STORE_*"
        )
    logs = (sessions or Path(directory)) / "session_latest" / "logs"
    if SLOW.search(said):
        return RayFailed(
            f"Ray did not start in time; run it again when this machine is less busy, or see the logs in {logs}"
        )
    return RayFailed(f"Ray cannot be started ({_first_line(error)}); see the logs in {logs}")


@contextmanager
def rays_faults_explained() -> Iterator[None]:
    """Turn Ray's errors in the block into one sentence, and re-raise a ``SpeechPromptError`` of a Ray task as it was.

    Raises:
        JobError: the cluster refuses a request of the job.
        RayFailed: Ray could not go on.
        StorageError: S3 refuses Ray's writes.
    """
    try:
        yield
    except Exception as error:
        # A failed task raises a subclass of both RayTaskError and the cause's class; its text is the whole traceback.
        cause = getattr(error, "cause", error)
        if refused := ARROW_REFUSED.search(str(error)):
            raise StorageError(
                f"S3 refused Ray's request ({refused[1]} at {refused[2]}); check the credentials, the region and the "
                "endpoint in the environment in which Ray runs"
            ) from error
        if not is_rays(error) or (cause is error and isinstance(error, SpeechPromptError)):
            raise
        if isinstance(cause, SpeechPromptError):
            raise cause from error
        raise run_fault(error) from error


def leave_pages_in_rays_logs() -> None:
    """Stop Ray from printing its processes' reports to standard output, which is for results."""
    from ray._private import worker

    worker.print_to_stdstream = lambda *_, **__: None


def run_fault(error: Exception) -> JobError | RayFailed:
    """Return as an error with a remedy why Ray could not go on."""
    if refused := _refusal(error):
        return refused
    said, name = str(error), type(error).__name__
    if "RuntimeEnvSetup" in name:
        return JobError(
            f"Ray cannot set up the runtime environment of its workers ({_last_line(said)}); correct the runtime_env "
            "of the job or of the cluster"
        )
    if name in ("ObjectStoreFullError", "OutOfDiskError"):
        return RayFailed(
            "Ray's object store and the disk it spills to are full; give /dev/shm or RAY_TMPDIR more room, or run "
            "fewer workers (resources.workers)"
        )
    if name == "GetTimeoutError" or "nschedulable" in name:
        return RayFailed(
            "Ray did not schedule the work in time; submit the job again when the cluster is less busy, or lower the "
            "job's resources"
        )
    cause = cause_of(said) or name
    return RayFailed(cause if "; " in cause else f"Ray failed ({cause}); submit the job again, and it goes on")


def _refusal(error: Exception) -> JobError | None:
    refused = type(error).__name__ == "AuthenticationError" or "Unauthenticated" in str(error)
    if not refused:
        return None
    return JobError(
        "the Ray cluster refuses the token of this machine; put the cluster's token into RAY_AUTH_TOKEN or "
        "~/.ray/auth_token, or set RAY_AUTH_MODE=disabled if the cluster has none"
    )


def is_rays(error: BaseException) -> bool:
    """Return whether an error is of one of Ray's classes."""
    return any(kind.__module__.partition(".")[0] == "ray" for kind in type(error).__mro__)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "").strip().rstrip(".") or type(error).__name__


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else "no reason given"
