"""A part of Ray that is gone ends the command in a sentence with a code of its own, also where it cannot be stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from orchestrator.cluster import ray_watch
from orchestrator.exit_codes import RAY_FAILED

LOST = "Ray's control process (GCS) has ended, see Ray's logs for the reason; run the command again, and it goes on"
BEGIN = """
    import socket, sys, time
    from infra.errors import RayFailed
    from orchestrator.cluster import ray_watch

    ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    names = ("Ray's control process (GCS)", "Ray's node process (raylet)")
    ray_watch._parts = lambda own: [
        ray_watch.Part(name, port.getsockname(), comes_back=not own) for name, port in zip(names, ports, strict=True)
    ]
    ray_watch.REFUSED_SECONDS = 0.1
    ray_watch.LOOK_SECONDS = 0.02
"""


def ended(code: str) -> tuple[int, str]:
    """Exit code and words of a process whose Ray is two sockets."""
    program = textwrap.dedent(BEGIN) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("work", ["time.sleep(60)", "time.sleep(0.5); raise ValueError('of a call into Ray')"])
def test_whatever_the_work_meets_is_due_to_that(work: str) -> None:
    code, said = ended(f"""
        try:
            with ray_watch.ray_watched(own=True):
                ports[0].close()
                {work}
        except RayFailed as error:
            sys.exit(str(error))
    """)
    assert (code, said) == (1, f"{LOST}\n")


def test_work_that_cannot_be_stopped_ends_with_the_process() -> None:
    code, said = ended("""
        ray_watch.GRACE_SECONDS = 0.1
        try:
            with ray_watch.ray_watched(own=True):
                ports[0].close()
                time.sleep(60)
        except RayFailed:
            time.sleep(60)
    """)
    assert (code, said) == (RAY_FAILED, f"error: {LOST}\n")


def test_a_ray_that_answers_is_left_alone_and_a_busy_cluster_is_waited_for() -> None:
    code, said = ended("""
        with ray_watch.ray_watched(own=True):
            time.sleep(0.3)
        with ray_watch.ray_watched(own=False):
            ports[0].close()
            time.sleep(0.3)
        time.sleep(0.2)
        assert ray_watch.lost_ray() is None
    """)
    assert (code, said) == (0, "")


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system does not tell at once that a process has ended")
def test_an_own_process_of_ray_is_missed_at_once() -> None:
    """What next reaches for the object store of a raylet that is gone would end the process without a message."""
    code, said = ended("""
        import subprocess
        ray_watch.LOOK_SECONDS = 60
        raylet = subprocess.Popen(["sleep", "60"])
        ray_watch._parts = lambda own: [ray_watch.Part("raylet", ports[0].getsockname(), pid=raylet.pid)]
        with ray_watch.ray_watched(own=True):
            time.sleep(0.1)
        assert ray_watch.lost_ray() is None
        try:
            with ray_watch.ray_watched(own=True):
                raylet.kill()
                time.sleep(60)
        except RayFailed as error:
            sys.exit(str(error))
    """)
    assert code == 1
    assert said.startswith("raylet has ended")


@pytest.mark.parametrize(("gone", "ends"), [("part.kill(); part.wait()", True), ("pass", False)])
def test_a_part_that_ends_while_ray_starts_ends_the_process(gone: str, ends: bool) -> None:
    """Ray's own code would wait for it and end the process without a message."""
    assert set(ray_watch.START_SECONDS) == {"gcs_server", "raylet"}
    code, said = ended(f"""
        import subprocess
        ray_watch.START_SECONDS = {{"sleep": (ray_watch.GCS_NAME, 0.1), "absent": ("absent", 0.1)}}
        with subprocess.Popen(["sleep", "60"]) as part:
            with ray_watch.start_watched():
                time.sleep(0.3)
                {gone}
                time.sleep(60 if {ends} else 1)
            part.kill()
    """)
    assert (code, said) == ((RAY_FAILED, f"error: {LOST}\n") if ends else (0, ""))
