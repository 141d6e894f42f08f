"""Who published a bundle: Ed25519 signatures of ``bundle.json``, which holds the digests of all other files.

A signature lies beside it as ``signature.<first 16 digits of the key's id>.json``, one for each key; the id of a key is
the SHA-256 of its 32 public bytes. What is signed is ``bundle.json`` byte for byte, so other tools can verify it too:
task and version, provenance included, are part of it. ``latest.json`` is not signed: who may write to the store can
make an older signed version the latest again, and only a reader that names a version is safe from that.

Keys are PEM files as OpenSSL writes them. Signing and verifying need the extra ``signing``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra import object_storage
from infra.digest import Sha256, canonical_json
from infra.errors import BundleError, InputError, MissingExtra, ObjectNotFound, UntrustedBundle
from workers.bundle.manifest import MANIFEST_FILE
from workers.untrusted import strict_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["SIGNATURE_LIMIT", "SigningKey", "TrustedKey", "check_signature", "new_key_pair"]

SIGNATURE_LIMIT: Final = 1024
"""Most bytes of a signature file."""
_KEY_LIMIT = 64 * 2**10
_PUBLIC: Final = ".pub"


class Signature(BaseModel):
    """The content of a signature file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format_version: Literal[1] = 1
    algorithm: Literal["ed25519"] = "ed25519"
    key: Sha256
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


@dataclass(frozen=True)
class TrustedKey:
    """A public key, by whose signature a bundle is believed.

    Attributes:
        id: SHA-256 of its 32 bytes.
    """

    id: str
    _key: Ed25519PublicKey

    @classmethod
    def read(cls, path: str) -> TrustedKey:
        """A public key in PEM.

        Raises:
            InputError: there is none in the file.
            MissingExtra: ``cryptography`` is not installed.
            StorageError: it cannot be read.
        """
        ed25519, serialization = _cryptography()
        try:
            key = serialization.load_pem_public_key(object_storage.read_bytes(path, limit=_KEY_LIMIT))
        except ValueError as error:
            raise InputError(f"{path}: not a public key in PEM; name the .pub file of 'bundle keygen'") from error
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise InputError(f"{path}: not an Ed25519 key; make one with 'speechprompt bundle keygen'")
        return cls(_id(key), key)

    @property
    def file(self) -> str:
        """Name of its signature file."""
        return f"signature.{self.id[:16]}.json"

    def check(self, document: bytes, signature: bytes, *, file: str) -> None:
        """Compare a signature file with the bytes of ``bundle.json``.

        Raises:
            UntrustedBundle: it is not a signature of these bytes by this key.
        """
        from cryptography.exceptions import InvalidSignature

        try:
            strict_json.loads(signature)
            stated = Signature.model_validate_json(signature)
        except (ValidationError, ValueError) as error:
            raise UntrustedBundle(
                f"{file}: not a signature file; ask the publisher to sign the bundle again"
            ) from error
        try:
            self._key.verify(bytes.fromhex(stated.signature), document)
        except InvalidSignature as error:
            raise UntrustedBundle(
                f"{file}: not the signature of {MANIFEST_FILE} by key {self.id[:16]}; do not use the bundle, it was "
                "altered or signed by somebody else"
            ) from error


@dataclass(frozen=True)
class SigningKey:
    """A private key; it is never shown, stored or sent anywhere."""

    trusted: TrustedKey
    _key: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.trusted.id[:16]})"

    @classmethod
    def read(cls, path: str) -> SigningKey:
        """A private key in PEM, without a passphrase.

        Raises:
            InputError: there is none in the file, or it asks for a passphrase.
            MissingExtra: ``cryptography`` is not installed.
            StorageError: it cannot be read.
        """
        ed25519, serialization = _cryptography()
        try:
            key = serialization.load_pem_private_key(object_storage.read_bytes(path, limit=_KEY_LIMIT), password=None)
        except (ValueError, TypeError) as error:
            # Neither message nor cause may repeat what stands in the file.
            asked = isinstance(error, TypeError)
            fault = "asks for a passphrase" if asked else "not a private key in PEM"
            raise InputError(f"{path}: {fault}; name a .pem file of 'speechprompt bundle keygen'") from None
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise InputError(f"{path}: not an Ed25519 key; make one with 'speechprompt bundle keygen'")
        public = key.public_key()
        return cls(TrustedKey(_id(public), public), key)

    def sign(self, uri: str, document: bytes) -> str:
        """Put the signature of ``bundle.json`` beside it.

        Args:
            uri: the bundle's own directory.
            document: the bytes of its ``bundle.json``, after everything they vouch for was verified.

        Returns:
            The signature file.

        Raises:
            BundleError: another file lies in its place.
            StorageError: it cannot be written.
        """
        made = Signature(key=self.trusted.id, signature=self._key.sign(document).hex())
        data = canonical_json(made.model_dump()) + b"\n"
        file = object_storage.join(uri, self.trusted.file)
        # The same key makes the same signature of the same bytes.
        if not object_storage.write_if_absent(file, data):
            found = object_storage.read_bytes(file, limit=SIGNATURE_LIMIT)
            if found != data:
                raise BundleError(f"{file} is not the signature of this bundle; remove it and sign again")
        return file


def check_signature(uri: str, document: bytes, trusted: Sequence[TrustedKey]) -> TrustedKey:
    """The key, of those that are trusted, by which ``bundle.json`` is signed.

    Args:
        uri: the bundle's own directory.
        document: the bytes of its ``bundle.json``.
        trusted: keys by any of which a bundle is believed.

    Raises:
        UntrustedBundle: it is not signed by any of them, or the signature is of other bytes.
        StorageError: the place cannot be read.
    """
    for key in trusted:
        file = object_storage.join(uri, key.file)
        try:
            signature = object_storage.read_bytes(file, limit=SIGNATURE_LIMIT)
        except ObjectNotFound:
            continue
        key.check(document, signature, file=file)
        return key
    names = ", ".join(key.id[:16] for key in trusted)
    raise UntrustedBundle(
        f"{uri}: not signed by a trusted key ({names}); ask its publisher to sign it, or name the key it is signed by"
    )


def new_key_pair(private: Path) -> TrustedKey:
    """Make a key pair: ``private``, readable by its owner alone, and ``<private without suffix>.pub`` beside it.

    Raises:
        InputError: one of the files is there already, or the private one would be called as public ones are.
        MissingExtra: ``cryptography`` is not installed.
    """
    ed25519, serialization = _cryptography()
    public = private.with_suffix(_PUBLIC)
    if public == private or private.suffix.lower() == _PUBLIC:
        raise InputError(
            f"{private}: the private key would be in a file called as public ones are; name it {private.stem}.pem, "
            f"and {public.name} is made beside it"
        )
    key = ed25519.Ed25519PrivateKey.generate()
    contents = {
        private: key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        public: key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    }
    for path in contents:
        if path.exists():
            raise InputError(f"{path}: is there already; choose another name, no key is overwritten")
    for path, data in contents.items():
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if path == private else 0o644)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    return TrustedKey(_id(key.public_key()), key.public_key())


def _id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def _cryptography() -> tuple[Any, Any]:
    """The modules of keys and of their files."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingExtra("cryptography", "signing") from error
    return ed25519, serialization
