"""Commands that are broken off end in one line, with a code of their own."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from infra.errors import StorageError
from orchestrator import __version__
from orchestrator.commands.tasks import tasks
from orchestrator.ending import BreakableGroup, keep_traceback
from orchestrator.exit_codes import BROKEN_OFF, FAULT, HUNG_UP, READER_GONE, TERMINATED
from orchestrator.progress import results_console
from tests.fixtures.command_line import speechprompt


def command(body: Callable[[], object]) -> int:
    """The exit code of a command that does this."""
    group = BreakableGroup("group")
    group.command("go")(body)
    with pytest.raises(SystemExit) as end, redirect_stdout(io.StringIO()):
        group.main(["go"])
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, BROKEN_OFF), (signal.SIGTERM, TERMINATED), (signal.SIGHUP, HUNG_UP)]
)
def test_signals(number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    cleaned = []

    def work() -> None:
        try:
            signal.raise_signal(number)
        finally:
            cleaned.append(number)

    assert command(work) == code
    assert (cleaned, capsys.readouterr().err) == ([number], "interrupted\n")
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_after_the_end_does_not_change_the_exit_code(number: signal.Signals) -> None:
    program = f"import atexit, signal; atexit.register(signal.raise_signal, {int(number)})"
    run = [sys.executable, "-c", f"{program}; from orchestrator.__main__ import main; main()", "--version"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_gone() -> None:
    def told() -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    assert command(told) == READER_GONE
    # Rich hears of it by itself.
    assert command(lambda: results_console().on_broken_pipe()) == READER_GONE


def test_a_full_disk_under_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(
        StorageError, match=r"the output cannot be written \(No space left on device\); make room where"
    ):
        command(full)
    named = OSError(errno.ENOSPC, "full", "/some/file")
    with pytest.raises(OSError, match="full") as other:
        command(lambda: (_ for _ in ()).throw(named))
    assert other.value is named
    monkeypatch.setattr(tasks, "callback", full)
    done = speechprompt("tasks")
    assert (done.code, done.stderr.count("\n")) == (2, 1)


def test_a_fault_of_ours_is_told_from_a_mistake_and_from_tasks_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(**_: object) -> None:
        raise KeyError("a name\nof two lines")

    monkeypatch.setattr(tasks, "callback", wrong)
    done = speechprompt("tasks")
    assert done.code == FAULT
    *trace, last = done.stderr.splitlines()
    assert last.startswith(f"error: internal error of speechprompt {__version__} (KeyError: ")
    assert last.endswith("); please report it, its traceback is above")
    assert trace[0] == "Traceback (most recent call last):"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "this machine has too little memory; lower gang"),
        (OSError(errno.ENOSPC, "No space left on device", "/some/file"), "/some/file cannot be written (No space left"),
        (OSError(errno.EMFILE, "Too many open files", "/some/file"), "raise the limit, for example with ulimit -n"),
    ],
)
def test_limits_of_the_machine_are_no_faults(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(tasks, "callback", fail)
    done = speechprompt("tasks")
    assert (done.code, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_where_somebody_looks_on_the_traceback_is_kept_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    said = keep_traceback(KeyError("lost"))
    [kept] = tmp_path.iterdir()
    assert (said, terminal.getvalue()) == (f"its traceback is in {kept}", "")
    assert kept.read_text() == "KeyError: 'lost'\n"


def test_in_a_shell() -> None:
    ours = f"{sys.executable} -m orchestrator tasks"
    line = f"""
        ({ours} | true; echo read ${{PIPESTATUS[0]}}) &
        ({ours} > /dev/full; echo full $?) &
        wait
    """
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=600, check=False)
    said = "error: the output cannot be written (No space left on device); make room where it goes\n"
    assert done.stderr == said
    assert sorted(done.stdout.splitlines()) == ["full 2", f"read {READER_GONE}"]
