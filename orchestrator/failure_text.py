"""What is said of a failure that Ray reports with pages of traceback."""

from __future__ import annotations

import re

DIED = re.compile(r"Worker exit detail: (?P<detail>.+?\.)(?: |$)(?P<code>Worker exits with an exit code \d+\.)?")
"""What Ray says of a worker whose process ended; causes that it can only guess follow."""

WORKER_DIED = "its worker process died"
WORKER_OUT_OF_MEMORY = "its worker was killed because the machine ran out of memory"

OUT_OF_MEMORY = ("NODE_OUT_OF_MEMORY", "running low on memory", "ray.exceptions.OutOfMemoryError")
"""What it says of one that its memory monitor killed."""

REFUSED_WRITE = re.compile("No space left on device|Read-only file system|Disk quota exceeded|Input/output error")
"""What the system says of a disk that takes nothing, whoever passes it on."""

RAISED = re.compile(r"[\w.]*(Error|Exception): ")
"""How a line begins that names the type of an error; a sentence of ours does not."""

QUOTED_PATH = re.compile(r"'(/[^']+)'")

LOST_NODE = (
    "the actor's node was ",
    "because its node has died",
    "Owner's node has crashed",
    "The actor never ran - it was cancelled",
)
"""What it says of one whose machine is gone, or the machine of the driver that owned it."""


def lost_with_its_node(noted: str) -> bool:
    """Whether the failure is that of a machine, and says nothing of what ran on it."""
    return any(mark in noted for mark in LOST_NODE)


def lost_with_its_worker(cause: str) -> bool:
    """Whether a cause, as told below, is that a worker's process was killed, or ended without an exception."""
    return cause.startswith((WORKER_DIED, WORKER_OUT_OF_MEMORY))


def place_refused(noted: str) -> str | None:
    """Why a worker could not write, if the machine or the disk of the job refused it, in a sentence; ``None`` else."""
    last = next(reversed(noted.strip().splitlines()), "").strip()
    refused = REFUSED_WRITE.search(last)
    if refused is None:
        return None
    if last.startswith("infra.errors."):
        last = last.partition(": ")[2]
    if not RAISED.match(last):
        return last
    named = QUOTED_PATH.search(last)
    where = f"{named[1]} cannot be written" if named else "what workers save cannot be written"
    remedy = "make room there" if named else "make room in storage and in the temporary directories of its machines"
    return f"{where} ({refused[0]}); {remedy}, then submit the job again, and it goes on"


def cause_of(noted: str) -> str:
    """One sentence: our own errors' one, what became of a worker's process, or else the last line, which holds type and
    message of any other error; empty if there is none."""
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
