"""The doors between the parts of the S3 server: they open to who holds a certificate, which is nobody else.

SeaweedFS asks for keys at its S3 port alone. Who reaches its filer, its volumes or its master over HTTP or gRPC can
otherwise read and write every object without one. See ``weed scaffold -config=security``.
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
"""Of which a certificate is valid before it was made, since clocks are set back."""


def mutual_tls(file: Path, host: str) -> dict[str, str]:
    """Make a certificate, and say what the server needs in its environment to ask for it at every inner door.

    Args:
        file: absolute; becomes the certificate with its key, readable by its owner alone. It is its own authority, so
            no other certificate is accepted.
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

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "speechprompt S3")])
    purposes = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
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
