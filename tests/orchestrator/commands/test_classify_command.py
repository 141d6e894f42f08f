"""``speechprompt classify``: one bad recording silences no other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.command_line import speechprompt
from tests.fixtures.random_classifier import publish_both
from tests.fixtures.tones import babble, tone, write_audio

COMMAND = ("classify", "--bundle", "bundles/toy-task")
BOTH = (*COMMAND, "--bundle", "bundles/strict")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with bundles of two tasks, one good recording, and others of all kinds."""
    publish_both(tmp_path)
    write_audio(tmp_path / "good.wav", babble(1, 0.6))
    write_audio(tmp_path / "short.wav", tone(440, 0.3))
    (tmp_path / "empty.wav").touch()
    (tmp_path / "page.wav").write_text("<!DOCTYPE html>")
    (tmp_path / "half.flac").write_bytes(b"fLaC\0\0\0\x22")
    (tmp_path / "directory.wav").mkdir()
    (tmp_path / "link.wav").symlink_to("nowhere.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(*arguments: str) -> tuple[int, list[dict[str, Any]], list[str]]:
    """Exit code, JSON lines, and what was said on stderr."""
    done = speechprompt(*arguments, "--backbone", "backbone", "--json")
    return done.code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.splitlines()


BAD = [
    "absent.wav",
    "empty.wav",
    "page.wav",
    "half.flac",
    "directory.wav",
    "link.wav",
    "pipe.wav",
    "/dev/zero",
    "good.wav/x",
    "https://example.org/x.wav",
]


@pytest.mark.usefixtures("workplace")
def test_every_good_recording_has_its_labels_and_every_bad_one_its_reason() -> None:
    mixed = [name for bad in BAD for name in (bad, "good.wav")]
    code, found, said = lines(*COMMAND, *mixed)
    assert code == 1
    assert [line["audio"] for line in found] == mixed
    assert [sorted(line) for line in found] == [["audio", "error"], ["audio", "labels"]] * len(BAD)
    assert len({json.dumps(line["labels"]) for line in found[1::2]}) == 1
    assert said == [line["error"] for line in found[::2]]
    for name, reason in zip(BAD, said, strict=True):
        assert name in reason
        assert "; " in reason


@pytest.mark.usefixtures("workplace")
def test_what_was_heard_is_shown_with_its_time() -> None:
    code, [found], _ = lines(*BOTH, "--explain", "good.wav")
    assert code == 0
    assert list(found["heard"]) == ["strict"]
    units = found["heard"]["strict"]["Which room?"]
    assert set(units[0]) == {"unit", "weight", "start", "end"}
    assert units[0]["start"] == 0
    assert units[-1]["end"] == pytest.approx(0.6, abs=0.05)
    done = speechprompt(*BOTH, "--backbone", "backbone", "--explain", "good.wav")
    *_, table = done.stdout.partition("nats")
    rows = [line for line in table.splitlines() if "Which room?" in line]
    assert [sum(task in row for row in rows) for task in ("toy-task", "strict")] == [1, 8]
    assert "reads the separators alone" in next(row for row in rows if "toy-task" in row)
    strongest = sorted(units, key=lambda one: -abs(one["weight"]))[:8]
    for one in strongest:
        assert any(f"{one['weight']:+.2f}" in row and f"{one['start']:.2f} to {one['end']:.2f}" in row for row in rows)
    plain = speechprompt(*BOTH, "--backbone", "backbone", "--json", "good.wav").stdout
    assert "heard" not in plain


@pytest.mark.usefixtures("workplace")
def test_a_recording_may_be_too_short_for_one_task_alone() -> None:
    code, [good, short], [said] = lines(*BOTH, "good.wav", "short.wav")
    assert code == 1
    assert list(good["labels"]) == ["toy-task", "strict"]
    assert list(short["labels"]) == ["toy-task"]
    assert said == short["error"]
    assert said.startswith("strict: short.wav: too short: 0.300 s, and audio.min_seconds is 0.5")


@pytest.mark.usefixtures("workplace")
def test_the_same_recording_twice_is_there_twice() -> None:
    code, found, said = lines(*BOTH, "good.wav", "page.wav", "good.wav", "page.wav")
    assert code == 1
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert len(said) == 2


@pytest.mark.usefixtures("workplace")
def test_a_table_has_the_good_ones() -> None:
    done = speechprompt(*COMMAND, "--backbone", "backbone", "page.wav", "good.wav")
    assert done.code == 1
    assert done.stdout.count("good.wav") == 2
    assert "page.wav" not in done.stdout
    assert done.stderr.startswith("page.wav: unreadable: ")


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("bad", [["page.wav"], ["absent.wav", "empty.wav"]])
def test_where_nothing_can_be_read_it_is_bad_input(bad: list[str]) -> None:
    code, found, said = lines(*BOTH, *bad)
    assert (code, len(said)) == (2, len(bad))
    assert [sorted(line) for line in found] == [["audio", "error"]] * len(bad)
    assert speechprompt(*COMMAND, "--backbone", "backbone", *bad).stdout == ""


def test_a_name_that_is_not_utf8_is_told_and_no_name_steers_the_terminal(workplace: Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    (workplace / name).write_bytes((workplace / "good.wav").read_bytes())
    code, [good, named], [said] = lines(*COMMAND, "good.wav", name)
    assert code == 1
    assert "labels" in good
    assert named == {"audio": name, "error": r"the path caf\xe9.wav is not UTF-8; rename it"}
    assert said == named["error"]
    bell = "bell\a\x1b[2J.wav"
    (workplace / bell).write_bytes((workplace / "good.wav").read_bytes())
    done = speechprompt(*COMMAND, "--backbone", "backbone", bell, "absent\x1b[2J.wav", "good.wav")
    assert done.code == 1
    assert r"bell\x07\x1b[2J.wav" in done.stdout
    assert r"absent\x1b[2J.wav" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
