from __future__ import annotations

import pytest

from orchestrator.cluster.failures import cause_of, lost_with_its_node, place_refused

DIED = """Failure # 1 (occurred at 2026-11-26_13-56-38)
The actor died unexpectedly before finishing this task.
\tclass_name: GangTrainable
\tpid: 14297
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: {detail}
"""
"""As Ray 2.60 writes it."""

CONNECTION_LOST = (
    "Worker unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the "
    "process was killed by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) others."
)


LOST = (
    "The actor is dead because its owner has died. Owner Id: 01 Owner worker exit type: NODE_DIED Worker exit detail: "
    "Owner's node has crashed.\nThe actor never ran - it was cancelled before it started running.",
    "The actor died because its node has died. Node Id: 05\n\tthe actor's node was terminated unexpectedly: gone",
    "The actor died unexpectedly before finishing this task.\n\tthe actor's node was preempted: maintenance",
)


FULL = "No space left on device"


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        (
            f"infra.errors.StorageError: /runs/x cannot be written ({FULL}); make room there",
            "/runs/x cannot be written",
        ),
        (
            "File x\nOSError: [Errno 30] Read-only file system: '/runs/a b'",
            "/runs/a b cannot be written (Read-only file",
        ),
        (f"OSError: [Errno 28] Error writing bytes to file. Detail: [errno 28] {FULL}", f"cannot be written ({FULL})"),
        (
            f'SafetensorError: IoError(Os {{ code: 28, message: "{FULL}" }})',
            "make room in storage and in the nodes' temporary",
        ),
    ],
)
def test_a_disk_that_refuses_is_none_of_a_gang(noted: str, said: str) -> None:
    refused = place_refused(noted)
    assert refused is not None
    assert said in refused
    assert "Error" not in refused
    assert "; make room" in refused


def test_other_failures_are_no_fault_of_a_disk() -> None:
    assert place_refused("") is place_refused(f"OSError: {FULL}\nValueError: wrong") is None


def test_a_failure_with_its_node_is_none_of_the_gang() -> None:
    assert all(lost_with_its_node(noted) for noted in LOST)
    assert not lost_with_its_node(DIED.format(detail=CONNECTION_LOST))


@pytest.mark.parametrize(
    ("noted", "cause"),
    [
        (
            "Traceback\n  File x\ninfra.errors.StorageError: s3://b: no such bucket; make it\n",
            "s3://b: no such bucket; make it",
        ),
        ("Traceback\n  File x\nValueError: wrong: 3", "ValueError: wrong: 3"),
        ("  \n", ""),
        (
            DIED.format(detail=CONNECTION_LOST),
            "its worker process died (Worker unexpectedly exits with a connection error code 2); see Ray's logs, and "
            "dmesg for a kill for lack of memory",
        ),
        (
            DIED.format(detail="Worker exits unexpectedly. Worker exits with an exit code 1."),
            "its worker process died (Worker exits unexpectedly. Worker exits with an exit code 1); see Ray's logs, "
            "and dmesg for a kill for lack of memory",
        ),
        (
            "Task was killed due to the node running low on memory.\nMemory on the node was 15 GB / 16 GB; refer to\n",
            "its worker was killed because the machine ran out of memory; lower recipe.batch_size or gang, or run "
            "fewer workers (resources.workers)",
        ),
        *(
            (noted, "its node was lost; submit the job again, and its lanes go on from their last checkpoint")
            for noted in LOST
        ),
        ("Traceback\n  File x\nMemoryError\n", "out of memory (MemoryError); lower recipe.batch_size or gang"),
    ],
)
def test_only_the_sentence_is_left(noted: str, cause: str) -> None:
    assert cause_of(noted) == cause
