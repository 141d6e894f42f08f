from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from infra.errors import BundleError
from orchestrator.commands.bundle import bundle
from tests.fixtures.bundles import random_bundle
from workers.bundle.publish import publish


def _invoke(*arguments: str) -> Result:
    return CliRunner().invoke(bundle, arguments, catch_exceptions=False)


def test_list(store_root: str) -> None:
    published = publish(store_root, random_bundle())
    publish(store_root, random_bundle(task="another"))
    result = _invoke("list", store_root)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["task", "version", "latest", "metric", "valid", "test", "created"]
    assert [line.split()[0] for line in lines[1:]] == ["another", "toy-task"]
    assert published.version in lines[2]

    rows = json.loads(_invoke("list", store_root, "--json").stdout)
    assert [row["task"] for row in rows] == ["another", "toy-task"]
    assert rows[1]["uri"] == published.uri
    assert rows[1]["results"]["test"]["accuracy"]["seeds"] == 3


def test_list_says_what_cannot_be_read(tmp_path: Path) -> None:
    published = publish(str(tmp_path), random_bundle())
    (Path(published.uri) / "bundle.json").write_text("{}")
    result = _invoke("list", str(tmp_path))
    assert result.exit_code == 1
    assert "cannot be read" in result.stdout
    assert "bundle.json" in result.stderr
    listed = _invoke("list", str(tmp_path), "--json")
    assert listed.exit_code == 1
    assert "bundle.json" in json.loads(listed.stdout)[0]["problem"]


def test_list_of_nothing(tmp_path: Path) -> None:
    assert _invoke("list", str(tmp_path)).stdout.startswith("No bundles below")
    assert json.loads(_invoke("list", str(tmp_path), "--json").stdout) == []


def test_inspect_shows_markup_as_text(tmp_path: Path) -> None:
    published = publish(str(tmp_path), random_bundle(slots={"label": ["[red]no[/red]", "taip, žinoma"]}))
    shown = _invoke("inspect", f"{tmp_path}/toy-task").stdout
    assert "[red]no[/red], taip, žinoma" in shown
    assert "a" * 64 in shown
    document = json.loads(_invoke("inspect", published.uri, "--json").stdout)
    assert (document["version"], document["uri"]) == (published.version, published.uri)
    assert document["slots"][0]["labels"] == ["[red]no[/red]", "taip, žinoma"]


def test_verify_and_pull_with_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    published = publish(str(tmp_path / "from"), random_bundle())
    assert "is intact: 74 numbers" in _invoke("verify", "from/toy-task").stdout
    assert json.loads(_invoke("verify", "from/toy-task", "--json").stdout)["version"] == published.version
    pulled = json.loads(_invoke("pull", "from/toy-task", "to", "--json").stdout)
    assert pulled == {
        "uri": f"{tmp_path}/to/toy-task/{published.version}",
        "version": published.version,
        "created": True,
    }
    assert "was there already" in _invoke("pull", "from/toy-task", "to").stdout
    (Path(published.uri) / "README.md").write_text("altered")
    with pytest.raises(BundleError, match=r"README\.md"):
        _invoke("verify", "from/toy-task")
