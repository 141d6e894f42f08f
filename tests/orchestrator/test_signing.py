from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import BundleError, InputError, StorageError
from orchestrator.signing import SIGNING_KEY, sign_published, signing_key
from tests.fixtures.bundles import random_bundle
from workers.bundle.publish import publish
from workers.bundle.read import verify
from workers.bundle.signing import new_key_pair


def test_a_job_signs_if_the_environment_names_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trusted = new_key_pair(tmp_path / "team.pem")
    published = publish(str(tmp_path / "bundles"), random_bundle())
    monkeypatch.delenv(SIGNING_KEY, raising=False)
    assert signing_key() is None
    sign_published(published.uri, None)
    with pytest.raises(BundleError):
        verify(published.uri, trusted=[trusted])
    monkeypatch.setenv(SIGNING_KEY, "team.pem")
    sign_published(published.uri, signing_key())
    verify(published.uri, trusted=[trusted])


def test_a_damaged_bundle_is_not_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = new_key_pair(tmp_path / "team.pem")
    monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "team.pem"))
    published = publish(str(tmp_path / "bundles"), random_bundle())
    (Path(published.uri) / "README.md").write_text("another")
    with pytest.raises(BundleError, match="altered"):
        sign_published(published.uri, signing_key())
    assert not (Path(published.uri) / trusted.file).exists()


def test_a_key_that_is_none_ends_the_job_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "absent.pem"))
    with pytest.raises(StorageError, match=r"absent\.pem does not exist"):
        signing_key()
    (tmp_path / "absent.pem").write_text("secret words")
    with pytest.raises(InputError, match="not a private key in PEM") as raised:
        signing_key()
    assert "secret words" not in str(raised.value)
