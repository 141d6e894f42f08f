"""An end at once leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import textwrap

TREE = """
    import subprocess, sys
    from orchestrator.cluster.descendants import kill_descendants

    child = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline()
    kill_descendants()
    assert child.wait(10) == -9
    # Whoever held the other end has ended too.
    assert not child.stdout.read()
"""


def test_children_of_children_are_ended_and_nobody_else() -> None:
    beside = subprocess.Popen(["sleep", "60"])
    try:
        subprocess.run([sys.executable, "-c", textwrap.dedent(TREE)], check=True, timeout=600)
        assert beside.poll() is None
    finally:
        beside.kill()
        beside.wait()
