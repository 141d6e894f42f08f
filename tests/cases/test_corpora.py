"""Data sets as people downloaded them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.command_line import Finished, speechprompt


def check(name: str, case: Path) -> tuple[Finished, dict[str, Any]]:
    """``tasks check`` on the case's root: what it printed, and its JSON."""
    finished = speechprompt("tasks", "check", name, "--root", str(case / "root"), "--json")
    return finished, json.loads(finished.stdout or "{}")


def total(content: dict[str, Any]) -> int:
    return sum(sum(labels.values()) for labels in content["found"].values())


@pytest.mark.case("89-mustard-plus-plus-official-row")
def test_a_broken_row_of_the_official_list_spoils_nothing(shared_case: Path) -> None:
    finished, content = check("mustard_plus_plus", shared_case)
    assert finished.code == 1  # complete as it is, but no complete download
    assert total(content) == len(list(shared_case.rglob("*.wav"))) == 30
    assert not finished.stderr


@pytest.mark.case("90-esc50-zip-from-github")
def test_the_directory_of_an_archive_is_looked_into(shared_case: Path) -> None:
    finished, content = check("esc50", shared_case)
    assert finished.code == 1
    assert total(content) == 10
    assert content["notes"] == ["read from ESC-50-master/"]


@pytest.mark.case("94-voxforge-tgz-not-unpacked")
def test_archives_are_named_with_the_command_that_unpacks_them(shared_case: Path) -> None:
    finished, _ = check("voxforge", shared_case)
    assert finished.code == 2
    assert len(finished.problems) == 6
    for language, problem in zip(("de", "en", "es", "fr", "it", "ru"), finished.problems, strict=True):
        place = f"{shared_case}/root/downloads/{language}/Trunk/Audio/Main/16kHz_16bit"
        assert problem == (
            f"{place}: holds no directories, but 2 archives (.tgz); unpack them: cd {place} && "
            'for f in *.tgz; do tar -xf "$f"; done'
        )


@pytest.mark.case("99-voxceleb-meta-with-commas")
def test_a_list_with_commas_is_read_as_the_official_one_with_tabs(shared_case: Path) -> None:
    finished, content = check("voxceleb1_gender", shared_case)
    assert finished.code == 1
    assert total(content) == 16
    assert content["found"]["test"] == {"female": 2, "male": 2}
    assert not finished.stderr
