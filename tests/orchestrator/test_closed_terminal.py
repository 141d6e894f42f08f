"""A terminal that is closed: the work saves itself as after SIGTERM, though nobody can be told."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import textwrap
from pathlib import Path

from orchestrator.ending import leave_closed_terminal
from orchestrator.exit_codes import INTERRUPTED

WORK = """
    import os, sys, time
    from pathlib import Path
    from orchestrator.cluster.interruption import interruptible
    from orchestrator.progress import ProgressView

    with interruptible(60.0) as interruption, ProgressView() as view, interruption.held():
        Path(sys.argv[1]).write_text("began")
        while not interruption.requested:
            view.line("working")
            time.sleep(0.001)
        view.line("saving")
        Path(sys.argv[1]).write_text("saved")
"""


def test_what_is_said_to_a_terminal_that_is_closed_does_not_keep_work_from_saving_itself(tmp_path: Path) -> None:
    said = tmp_path / "said"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORK), str(said)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # Of the session's own, so that its end is heard by those in it.
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )
    os.close(theirs)
    seen = b""
    while b"working" not in seen and select.select([ours], [], [], 60)[0]:
        seen += os.read(ours, 1000)
    assert said.read_text() == "began"
    os.close(ours)
    assert process.wait(60) == INTERRUPTED
    assert said.read_text() == "saved"


def test_streams_that_are_no_closed_terminal_stay() -> None:
    assert not leave_closed_terminal()
