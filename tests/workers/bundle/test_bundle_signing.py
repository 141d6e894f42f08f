"""Signatures by real keys, and what a forger may try."""

from __future__ import annotations

import builtins
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra import object_storage as storage
from infra.errors import BundleError, InputError, MissingExtra, StorageError, UntrustedBundle
from tests.fixtures.bundles import random_bundle
from tests.fixtures.command_line import speechprompt
from workers.bundle.listing import list_store
from workers.bundle.publish import Published, publish
from workers.bundle.pull import pull
from workers.bundle.read import read, verify
from workers.bundle.signing import SigningKey, TrustedKey, new_key_pair


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return key_pair(tmp_path / "ours.pem")


def key_pair(path: Path) -> SigningKey:
    made = new_key_pair(path)
    signing = SigningKey.read(str(path))
    assert signing.trusted.id == made.id == TrustedKey.read(str(path.with_suffix(".pub"))).id
    return signing


def signed(root: str, key: SigningKey, **settings: Any) -> Published:
    published = publish(root, random_bundle(**settings))
    key.sign(published.uri, verify(published.uri).document)
    return published


def test_a_signed_bundle_is_read_by_its_task_and_by_its_version(store_root: str, key: SigningKey) -> None:
    published = signed(store_root, key)
    for uri in (published.uri, f"{store_root}/toy-task"):
        assert read(uri, trusted=[key.trusted]).manifest.version == published.version
    assert storage.exists(f"{published.uri}/signature.{key.trusted.id[:16]}.json")
    # Signing twice, and publishing again, change nothing.
    key.sign(published.uri, verify(published.uri).document)
    assert not publish(store_root, random_bundle()).created
    verify(published.uri, trusted=[key.trusted])


def test_one_of_several_keys_is_enough(tmp_path: Path, key: SigningKey) -> None:
    other = key_pair(tmp_path / "other.pem")
    published = signed(str(tmp_path / "bundles"), key)
    verify(published.uri, trusted=[other.trusted, key.trusted])
    with pytest.raises(UntrustedBundle, match=f"not signed by a trusted key .{other.trusted.id[:16]}"):
        verify(published.uri, trusted=[other.trusted])
    other.sign(published.uri, verify(published.uri).document)
    verify(published.uri, trusted=[other.trusted])


def test_an_unsigned_bundle_is_refused(tmp_path: Path, key: SigningKey) -> None:
    published = publish(str(tmp_path / "bundles"), random_bundle())
    verify(published.uri)
    with pytest.raises(UntrustedBundle, match="not signed by a trusted key"):
        read(published.uri, trusted=[key.trusted])


def test_another_keys_signature_under_this_keys_name_is_refused(tmp_path: Path, key: SigningKey) -> None:
    other = key_pair(tmp_path / "other.pem")
    published = signed(str(tmp_path / "bundles"), other)
    theirs = Path(published.uri) / other.trusted.file
    text = theirs.read_text().replace(other.trusted.id, key.trusted.id)
    (Path(published.uri) / key.trusted.file).write_text(text)
    with pytest.raises(UntrustedBundle, match=r"not the signature of bundle\.json by key"):
        read(published.uri, trusted=[key.trusted])


def test_provenance_is_signed_though_the_version_leaves_it_out(tmp_path: Path, key: SigningKey) -> None:
    published = signed(str(tmp_path / "bundles"), key)
    file = Path(published.uri) / "bundle.json"
    file.write_bytes(file.read_bytes().replace(b'"run_id":"run"', b'"run_id":"nur"'))
    verify(published.uri)
    with pytest.raises(UntrustedBundle, match="altered or signed by somebody else"):
        verify(published.uri, trusted=[key.trusted])


def test_a_signed_bundle_of_another_task_is_not_this_tasks(tmp_path: Path, key: SigningKey) -> None:
    root = tmp_path / "bundles"
    signed(str(root), key, task="asked")
    other = signed(str(root), key, task="other")
    shutil.copytree(other.uri, root / "asked" / other.version)
    shutil.copy(root / "other" / "latest.json", root / "asked" / "latest.json")
    with pytest.raises(BundleError, match="is of task other, not asked"):
        read(str(root / "asked"), trusted=[key.trusted])


@pytest.mark.parametrize("pointer", [True, False])
@pytest.mark.parametrize("trusting", [True, False])
def test_signed_files_beside_another_tasks_pointer_do_not_answer_for_it(
    tmp_path: Path, key: SigningKey, pointer: bool, trusting: bool
) -> None:
    root = tmp_path / "bundles"
    asked, other = (signed(str(root), key, task=task) for task in ("asked", "other"))
    for file in Path(other.uri).iterdir():
        shutil.copy(file, root / "asked" / file.name)
    trusted = [key.trusted] if trusting else []
    if pointer:
        assert read(f"{root}/asked", trusted=trusted).manifest.version == asked.version
        assert list_store(str(root)).strays == sorted(f"asked/{file.name}" for file in Path(other.uri).iterdir())
        return
    (root / "asked" / "latest.json").unlink()
    if trusting:
        with pytest.raises(UntrustedBundle, match="signed bundle of task other under another name"):
            read(f"{root}/asked", trusted=trusted)
    else:
        # Who asks for no signature gets what lies there, which says itself of which task it is.
        assert read(f"{root}/asked").manifest.task.name == "other"


@pytest.mark.parametrize("trusting", [True, False])
def test_a_version_below_the_name_of_another_task_is_refused(tmp_path: Path, key: SigningKey, trusting: bool) -> None:
    published = signed(str(tmp_path / "bundles"), key)
    trusted = [key.trusted] if trusting else []
    elsewhere = tmp_path / "asked" / published.version
    shutil.copytree(published.uri, elsewhere)
    with pytest.raises(BundleError, match=rf"is of task toy-task, not asked; put {published.version} into a directory"):
        verify(str(elsewhere), trusted=trusted)


def test_a_copy_may_have_any_name_but_a_trusted_one_its_tasks(tmp_path: Path, key: SigningKey) -> None:
    published = signed(str(tmp_path / "bundles"), key)
    for name in ("my-bundle", "toy-task"):
        shutil.copytree(published.uri, tmp_path / "copies" / name)
        assert read(str(tmp_path / "copies" / name)).manifest.version == published.version
    read(str(tmp_path / "copies" / "toy-task"), trusted=[key.trusted])
    with pytest.raises(UntrustedBundle, match="name the directory toy-task"):
        read(str(tmp_path / "copies" / "my-bundle"), trusted=[key.trusted])


def test_a_task_may_be_called_as_a_version_is(tmp_path: Path, key: SigningKey) -> None:
    published = signed(str(tmp_path), key, task="0123456789abcdef")
    for uri in (published.uri, f"{tmp_path}/0123456789abcdef"):
        assert verify(uri, trusted=[key.trusted]).version == published.version


def test_a_signature_of_another_version_does_not_fit(tmp_path: Path, key: SigningKey) -> None:
    root = str(tmp_path / "bundles")
    old, new = signed(root, key, seed=1), publish(root, random_bundle(seed=2))
    shutil.copy(Path(old.uri) / key.trusted.file, Path(new.uri) / key.trusted.file)
    with pytest.raises(UntrustedBundle, match="not the signature"):
        read(new.uri, trusted=[key.trusted])
    with pytest.raises(BundleError, match="is not the signature of this bundle"):
        key.sign(new.uri, verify(new.uri).document)


def test_every_altered_byte_of_a_signature_file_is_noticed(tmp_path: Path, key: SigningKey) -> None:
    published = signed(str(tmp_path / "bundles"), key)
    document = verify(published.uri).document
    signature = (Path(published.uri) / key.trusted.file).read_bytes()
    key.trusted.check(document, signature, file="s")
    # The id only repeats what the file's name says, and white space at the end means nothing.
    start = signature.index(key.trusted.id.encode())
    for position in range(len(signature) - 1):
        if start <= position < start + 64:
            continue
        changed = bytearray(signature)
        changed[position] ^= 1 << position % 8
        with pytest.raises(UntrustedBundle):
            key.trusted.check(document, bytes(changed), file="s")


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b'{"key": 1}', b"[" * 1000, b"x" * 1024])
def test_what_is_no_signature_is_refused(tmp_path: Path, key: SigningKey, text: bytes) -> None:
    published = publish(str(tmp_path / "bundles"), random_bundle())
    (Path(published.uri) / key.trusted.file).write_bytes(text)
    with pytest.raises(UntrustedBundle, match="not a signature file"):
        read(published.uri, trusted=[key.trusted])


@pytest.mark.parametrize("name", ["bundle.json", "prompt.safetensors", "../latest.json", "signature"])
@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "loop"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, key: SigningKey, name: str, kind: str) -> None:
    published = signed(str(tmp_path / "bundles"), key)
    file = Path(published.uri) / (key.trusted.file if name == "signature" else name)
    instead(file, kind)
    with pytest.raises((BundleError, StorageError), match="; "):
        read(f"{tmp_path}/bundles/toy-task", trusted=[key.trusted])


@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
def test_a_key_that_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    instead(tmp_path / "team.pem", kind)
    for reader in (SigningKey.read, TrustedKey.read):
        with pytest.raises((InputError, StorageError), match=r"team\.pem"):
            reader(f"{tmp_path}/team.pem")


def instead(file: Path, kind: str) -> None:
    """Put something that has a name, and is no file, in a file's place."""
    file.unlink(missing_ok=True)
    match kind:
        case "fifo":
            os.mkfifo(file)
        case "directory":
            file.mkdir()
        case "device":
            file.symlink_to("/dev/zero")
        case "loop":
            file.symlink_to(file.name)


def test_signatures_are_pulled_too(store_root: str, tmp_path: Path, key: SigningKey) -> None:
    published = signed(store_root, key)
    pulled = pull(published.uri, str(tmp_path / "pulled"), trusted=[key.trusted])
    verify(pulled.uri, trusted=[key.trusted])
    other = publish(str(tmp_path / "there"), random_bundle(run_id="theirs"))
    pull(published.uri, str(tmp_path / "there"))
    assert not storage.exists(f"{other.uri}/{key.trusted.file}")
    with pytest.raises(UntrustedBundle):
        pull(other.uri, str(tmp_path / "nowhere"), trusted=[key.trusted])
    assert not (tmp_path / "nowhere").exists()


def test_keys_are_private_and_not_overwritten(tmp_path: Path, key: SigningKey) -> None:
    pem = tmp_path / "ours.pem"
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    secret = "".join(pem.read_text().splitlines()[1:-1])
    assert secret not in repr(key)
    with pytest.raises(InputError, match="no key is overwritten"):
        new_key_pair(pem)
    for public in ("team.pub", "team.PUB"):
        with pytest.raises(InputError, match=r"name it team\.pem, and team\.pub is made beside it"):
            new_key_pair(tmp_path / public)
        assert not (tmp_path / public).exists()
    (tmp_path / "nothing.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for wrong in ("ours.pub", "nothing.pem"):
        with pytest.raises(InputError, match="not a private key in PEM"):
            SigningKey.read(str(tmp_path / wrong))
    with pytest.raises(InputError, match="not a public key in PEM"):
        TrustedKey.read(str(pem))


def test_openssl_verifies_it_too(tmp_path: Path, key: SigningKey) -> None:
    published = signed(str(tmp_path / "bundles"), key)
    stated = json.loads((Path(published.uri) / key.trusted.file).read_bytes())
    (tmp_path / "raw").write_bytes(bytes.fromhex(stated["signature"]))
    openssl = shutil.which("openssl")
    if openssl is None:  # nothing to compare with
        return
    command = [openssl, "pkeyutl", "-verify", "-pubin", "-inkey", str(tmp_path / "ours.pub"), "-rawin"]
    command += ["-in", f"{published.uri}/bundle.json", "-sigfile", str(tmp_path / "raw")]
    assert "Successfully" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_without_the_extra_there_is_one_sentence(
    tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert key
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"pip install 'speechprompt\[signing\]'"):
        TrustedKey.read(str(tmp_path / "ours.pub"))


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    published = publish(str(tmp_path / "bundles"), random_bundle())
    assert speechprompt("bundle", "keygen", "team.pem").code == 0
    refused = speechprompt("bundle", "verify", "bundles/toy-task", "--trusted", "team.pub")
    assert (refused.code, "not signed by a trusted key" in refused.stderr) == (2, True)
    done = speechprompt("bundle", "sign", "bundles/toy-task", "--key", "team.pem")
    assert (done.code, published.version in done.stdout) == (0, True)
    assert speechprompt("bundle", "verify", "bundles/toy-task", "--trusted", "team.pub").code == 0
