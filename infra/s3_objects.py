"""Object storage in S3, or in any store that speaks its protocol with conditional writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from s3transfer.exceptions import RetriesExceededError

from infra import local_files
from infra.errors import ObjectNotFound, StorageError
from infra.uris import split_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READ_ATTEMPTS = 3
_CONFLICT_ATTEMPTS = 5
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_LOST = ("PreconditionFailed", "412")
# Two conditional writes of one key in flight at the same moment: S3 asks one of them to try again.
_CONFLICT = ("ConditionalRequestConflict", "409")
_NO_KEY = ("NoSuchKey", "NotFound", "404")
_NO_BUCKET = ("NoSuchBucket",)
_REFUSED = (
    "AccessDenied",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "401",
    "403",
)


def exists(uri: str) -> bool:
    bucket, key = _object(uri)
    with _explained(uri):
        try:
            _client().head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if _code(error) not in _NO_KEY:
                raise
            _require_bucket(bucket, uri)
            return False
    return True


def read_bytes(uri: str, limit: int | None) -> bytes:
    return read_versioned(uri, limit)[0]


def read_versioned(uri: str, limit: int | None) -> tuple[bytes, str]:
    bucket, key = _object(uri)
    with _explained(uri):
        for attempt in range(1, _READ_ATTEMPTS + 1):
            answer = _client().get_object(Bucket=bucket, Key=key)
            with answer["Body"] as body:
                if limit is not None and answer["ContentLength"] > limit:
                    raise StorageError(
                        f"{uri} is larger than the {limit} bytes allowed here; it is not what it should be"
                    )
                try:
                    return body.read(), answer["ETag"]
                except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                    # botocore repeats requests, but not a body that breaks off.
                    if attempt == _READ_ATTEMPTS:
                        raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def write_bytes(uri: str, data: bytes) -> None:
    bucket, key = _object(uri)
    with _explained(uri):
        _client().put_object(Bucket=bucket, Key=key, Body=data)


def write_if_absent(uri: str, data: bytes) -> bool:
    return _put_if(uri, data, absent=True)


def write_if_version(uri: str, data: bytes, version: str) -> bool:
    return _put_if(uri, data, version=version)


def list_files(root: str) -> list[str]:
    bucket, key = split_s3(root)
    prefix = f"{key}/" if key else ""
    with _explained(root):
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    # A key that ends in a slash is a folder that some tool drew; it holds nothing.
    return [key.removeprefix(prefix) for key in keys if not key.endswith("/")]


def upload(local_path: str, uri: str) -> None:
    bucket, key = _object(uri)
    if not local_files.exists(local_path):
        raise ObjectNotFound(f"{local_path} does not exist; check the path")
    with _explained(uri), Path(local_path).open("rb") as file:
        _client().upload_fileobj(file, bucket, key, Config=TransferConfig(use_threads=True))


def download(uri: str, local_path: str) -> None:
    bucket, key = _object(uri)
    with _explained(uri):
        try:
            local_files.receive(local_path, lambda file: _client().download_fileobj(bucket, key, file))
        except ClientError as error:
            if _code(error) in _NO_KEY:
                _require_bucket(bucket, uri)
            raise


def arrow_options() -> dict[str, str]:
    """What ``pyarrow.fs.S3FileSystem`` needs to meet the same server; credentials it finds by itself."""
    options = {}
    if region := _region():
        options["region"] = region
    if endpoint := _endpoint():
        parts = urlsplit(endpoint)
        options |= {"scheme": parts.scheme, "endpoint_override": parts.netloc}
    return options


def _put_if(uri: str, data: bytes, *, absent: bool = False, version: str = "") -> bool:
    bucket, key = _object(uri)
    with _explained(uri):
        for attempt in range(1, _CONFLICT_ATTEMPTS + 1):
            try:
                if absent:
                    _client().put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
                else:
                    _client().put_object(Bucket=bucket, Key=key, Body=data, IfMatch=version)
                return True
            except ClientError as error:
                code = _code(error)
                if code in _LOST or (not absent and code in _NO_KEY):
                    return False
                if code not in _CONFLICT or attempt == _CONFLICT_ATTEMPTS:
                    raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _object(uri: str) -> tuple[str, str]:
    bucket, key = split_s3(uri)
    if not key:
        raise StorageError(f"{uri!r} names a bucket, not an object; write s3://bucket/key")
    return bucket, key


def _client() -> S3Client:
    """One client for the process, and another one after a fork or when its settings change."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
    return _new_client(os.getpid(), _endpoint(), _region(), tuple(os.environ.get(name) for name in names))


@lru_cache(maxsize=4)
def _new_client(
    process: int,  # noqa: ARG001  part of the cache's key: connections do not survive a fork
    endpoint: str | None,
    region: str | None,
    identity: tuple[str | None, ...],  # noqa: ARG001  part of the cache's key: botocore reads it itself
) -> S3Client:
    try:
        # A session of its own: the default one is not safe among threads while it makes a client.
        return boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint,
            region_name=region,
            config=Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                retries={"mode": "standard"},  # three attempts, or AWS_MAX_ATTEMPTS
                s3={"addressing_style": "path"},  # a server of one's own seldom has a host name for each bucket
            ),
        )
    except ValueError as error:
        raise StorageError("AWS_ENDPOINT_URL_S3 is not a URL; write it like http://host:port") from error


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _region() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None


def _require_bucket(bucket: str, uri: str) -> None:
    """Tell a missing bucket from a missing key: to a HEAD request both are 404, without a body."""
    try:
        _client().head_bucket(Bucket=bucket)
    except ClientError as error:
        if _code(error) in _NO_KEY + _NO_BUCKET:
            raise _missing_bucket(bucket, uri) from error
        raise


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Turn what the store or botocore says into one sentence; their own texts can hold keys and tokens."""
    try:
        yield
    except ClientError as error:
        raise _refusal(error, uri) from error
    except RetriesExceededError as error:
        raise StorageError(f"{uri} could not be transferred whole; check the connection to {_server()}") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StorageError(
            f"{uri} needs credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE"
        ) from error
    except (BotoConnectionError, HTTPClientError) as error:
        raise StorageError(
            f"{uri} is out of reach: no answer from {_server()}; check AWS_ENDPOINT_URL_S3 and the server"
        ) from error
    except BotoCoreError as error:
        raise StorageError(f"{uri} cannot be used ({type(error).__name__}); check the AWS settings") from error


def _refusal(error: ClientError, uri: str) -> StorageError:
    code = _code(error)
    if code in _NO_BUCKET:
        return _missing_bucket(split_s3(uri)[0], uri)
    if code in _NO_KEY:
        return ObjectNotFound(f"{uri} does not exist; check the path")
    if code in _REFUSED:
        return StorageError(
            f"{uri} was refused ({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and their rights"
        )
    return StorageError(f"{uri} cannot be used: {_server()} answered {code}; look the code up in its documentation")


def _missing_bucket(bucket: str, uri: str) -> StorageError:
    return StorageError(
        f"{uri} cannot be used: there is no bucket {bucket!r} at {_server()}; create it or mend the name"
    )


def _server() -> str:
    """Scheme and host only: an endpoint may carry a password."""
    endpoint = _endpoint()
    if endpoint is None:
        return "AWS"
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
