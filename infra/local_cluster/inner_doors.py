"""Mutual TLS between the parts of the S3 server, so that nobody else can reach them.

SeaweedFS asks for keys only at its S3 port. Without certificates, anyone who reaches its filer, volumes or master over
HTTP or gRPC could read and write every object. See ``weed scaffold -config=security``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

from infra.errors import MissingExtra
from infra.private_directory import write_private

_HTTP = ("MASTER", "VOLUME", "FILER", "ADMIN")
_GRPC = (*_HTTP, "S3", "WORKER", "CLIENT")
_LIFE = timedelta(days=3650)
_SLOW_CLOCK = timedelta(days=2)
"""Time before its creation from which a certificate is valid, since clocks may be set back."""


def mutual_tls(file: Path, host: str) -> dict[str, str]:
    """Make a certificate, and return the environment with which the server asks for it on all inner connections.

    Args:
        file: absolute path for the certificate and its key, readable only by its owner. The certificate is its own
            authority, so no other one is accepted.
        host: IP address on which the server listens.

    Raises:
        MissingExtra: ``cryptography`` is not installed.
        OSError: the file cannot be written.
    """
    write_private(file, _certificate(host))
    pair = {"CERT": str(file), "KEY": str(file)}
    variables = {f"WEED_GRPC_{part}_{name}": place for part in _GRPC for name, place in pair.items()}
    for part in (*_HTTP, "CLIENT"):
        variables |= {f"WEED_HTTPS_{part}_{name}": place for name, place in {**pair, "CA": str(file)}.items()}
    return {**variables, "WEED_GRPC_CA": str(file), "WEED_HTTPS_CLIENT_ENABLED": "true"}


def _certificate(host: str) -> str:
    if find_spec("cryptography") is None:
        raise MissingExtra("cryptography", "cluster")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "speechprompt S3")])
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - _SLOW_CLOCK)
        .not_valid_after(datetime.now(UTC) + _LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (certificate.public_bytes(Encoding.PEM) + private).decode("ascii")
