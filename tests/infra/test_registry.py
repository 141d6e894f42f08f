"""Kinds that installed packages add."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import InputError
from infra.registry import Registry

GROUP = "speechprompt.toys"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution on the path that announces ``toy``."""
    described = tmp_path / "toys-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(f"[{GROUP}]\ntoy = a_toy_package:KIND\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_package_adds_a_kind_by_an_entry_point(package: Path) -> None:
    (package / "a_toy_package.py").write_text("KIND = 'made of wood'\n")
    registry = Registry[str]("toy", GROUP)
    registry.register("own", "made of tin")
    assert dict(registry) == {"own": "made of tin", "toy": "made of wood"}


@pytest.mark.usefixtures("package")
def test_a_package_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "a_toy_package", None)
    said = "toys: the toy 'toy' cannot be loaded .*; repair or uninstall that package"
    registry = Registry[str]("toy", GROUP)
    for _ in range(2):
        with pytest.raises(InputError, match=said):
            len(registry)


def test_two_kinds_of_one_name_are_refused() -> None:
    registry = Registry[str]("toy", "speechprompt.none")
    registry.register("a", "one")
    with pytest.raises(InputError, match="two kinds of toy named 'a'; rename one of them"):
        registry.register("a", "other")
