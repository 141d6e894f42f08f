"""SIGTERM and Ctrl-C: broken off or held back, ended by a second signal or when the grace is over."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from orchestrator.cluster.interruption import SIGNALS, Interruption, interruptible
from orchestrator.exit_codes import INTERRUPTED

LINE = "interrupted; submit the job again and it goes on\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_breaks_off_what_runs(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(SystemExit) as end, interruptible(60.0):
        signal.raise_signal(number)
    assert (end.value.code, capsys.readouterr().err) == (INTERRUPTED, LINE)
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_under_nohup_a_terminal_may_be_closed() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible(60.0) as interruption:
            signal.raise_signal(signal.SIGHUP)
            assert not interruption.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_to_do_to_go_on_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), interruptible(again="tokenize again"):
        signal.raise_signal(signal.SIGTERM)
    assert capsys.readouterr().err == "interrupted; tokenize again\n"


def save_itself(steps: list[str]) -> None:
    """A job of two parts, the first of which is not broken off."""
    with interruptible(60.0) as interruption:
        assert (interruption.requested, interruption.left) == (False, 60.0)
        with interruption.held():
            signal.raise_signal(signal.SIGTERM)
            assert interruption.requested
            assert 0 < interruption.left <= 60.0
            steps.append("saved")
        steps.append("went on")


def test_a_block_that_saves_itself_is_not_broken_off() -> None:
    steps: list[str] = []
    with pytest.raises(SystemExit):
        save_itself(steps)
    assert steps == ["saved"]


def test_what_ends_before_a_signal_ends_as_ever() -> None:
    with interruptible(60.0) as interruption, interruption.held():
        pass
    with pytest.raises(SystemExit) as end, interruptible(60.0):
        sys.exit(1)
    assert end.value.code == 1


def test_a_bare_interrupt_of_a_call_into_ray_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, interruptible(60.0):
        raise KeyboardInterrupt
    assert (end.value.code, capsys.readouterr().err) == (INTERRUPTED, LINE)


def test_an_exit_by_the_handler_of_ray_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, interruptible(60.0):
        sys.exit(signal.SIGTERM)
    assert (end.value.code, capsys.readouterr().err) == (INTERRUPTED, LINE)


def in_a_process(code: str) -> tuple[int, str]:
    """Exit code and standard error of a program that is interrupted while it saves."""
    begin = """
        import signal, threading
        from orchestrator.cluster.interruption import interruptible
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(begin) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_second_signal_ends_at_once() -> None:
    code, said = in_a_process("""
        with interruptible(60.0) as interruption, interruption.held():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            threading.Event().wait()
    """)
    assert code == INTERRUPTED
    assert said == "interrupted, ended at once by a second signal; submit the job again and it goes on\n"


def test_the_grace_ends_what_does_not_end() -> None:
    code, said = in_a_process("""
        with interruptible(0.2) as interruption, interruption.held():
            signal.raise_signal(signal.SIGTERM)
            threading.Event().wait()
    """)
    assert code == INTERRUPTED
    assert "not everything was saved within 0.2 seconds; submit the job again" in said


def test_without_a_command_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert not Interruption().requested
    assert signal.getsignal(signal.SIGTERM) is before
