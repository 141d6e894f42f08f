from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import BundleError, InputError, StorageError
from orchestrator.signing_key import SIGNING_KEY, sign_published, signing_key
from tests.fixtures.bundles import random_bundle
from workers.bundle.publish import Published, publish
from workers.bundle.read import verify
from workers.bundle.signing import SigningKey, new_key_pair


def test_a_job_signs_if_the_environment_names_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trusted = new_key_pair(tmp_path / "team.pem")
    published = publish(str(tmp_path / "bundles"), random_bundle())
    monkeypatch.delenv(SIGNING_KEY, raising=False)
    assert signing_key() is None
    sign_published(published, None)
    with pytest.raises(BundleError):
        verify(published.uri, trusted=[trusted])
    monkeypatch.setenv(SIGNING_KEY, "team.pem")
    sign_published(published, signing_key())
    verify(published.uri, trusted=[trusted])


def test_a_damaged_bundle_is_not_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = new_key_pair(tmp_path / "team.pem")
    monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "team.pem"))
    published = publish(str(tmp_path / "bundles"), random_bundle())
    (Path(published.uri) / "README.md").write_text("another")
    with pytest.raises(BundleError, match="altered"):
        sign_published(published, signing_key())
    assert not (Path(published.uri) / trusted.file).exists()


def altered_provenance(published: Published) -> None:
    file = Path(published.uri) / "bundle.json"
    file.write_bytes(file.read_bytes().replace(b'"run_id":"run"', b'"run_id":"nur"'))
    verify(published.uri)


def test_provenance_that_was_changed_meanwhile_is_not_signed(tmp_path: Path) -> None:
    key = pair(tmp_path)
    published = publish(str(tmp_path / "bundles"), random_bundle())
    altered_provenance(published)
    with pytest.raises(BundleError, match="names another provenance than this job"):
        sign_published(published, key)
    assert not (Path(published.uri) / key.trusted.file).exists()


def test_what_another_job_has_published_and_signed_stays_so(tmp_path: Path) -> None:
    key, bundles = pair(tmp_path), str(tmp_path / "bundles")
    sign_published(publish(bundles, random_bundle()), key)
    later = publish(bundles, random_bundle(run_id="later"))
    sign_published(later, key)
    verify(later.uri, trusted=[key.trusted])
    altered_provenance(later)
    with pytest.raises(BundleError, match="names another provenance than this job"):
        sign_published(later, key)


def pair(directory: Path) -> SigningKey:
    new_key_pair(directory / "team.pem")
    return SigningKey.read(f"{directory}/team.pem")


def test_a_key_that_is_none_ends_the_job_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "absent.pem"))
    with pytest.raises(StorageError, match=r"absent\.pem does not exist"):
        signing_key()
    (tmp_path / "absent.pem").write_text("secret words")
    with pytest.raises(InputError, match="not a private key in PEM") as raised:
        signing_key()
    assert "secret words" not in str(raised.value)
