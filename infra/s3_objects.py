"""Object storage in S3, or in any S3-compatible store with conditional writes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError

from infra import local_files
from infra.errors import ObjectNotFound, StorageError, TooLarge
from infra.s3_client import client, server
from infra.s3_faults import NO_BUCKET, NO_KEY, error_code, explained, missing_bucket, not_s3
from infra.uris import split_s3

# As many as boto3's downloads. Requests have their own retries: this is for interrupted bodies.
_READ_ATTEMPTS = 5
_CONFLICT_ATTEMPTS = 5
_LOST = ("PreconditionFailed", "412")
# S3 asks one of two simultaneous conditional writes of a key to try again.
_CONFLICT = ("ConditionalRequestConflict", "409")
_NO_CONDITIONS = ("NotImplemented", "501")


def exists(uri: str) -> bool:
    bucket, key = _object(uri)
    with explained(uri):
        try:
            client().head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error_code(error) not in NO_KEY:
                raise
            _require_bucket(bucket, uri)
            return False
    return True


def read_bytes(uri: str, limit: int | None) -> bytes:
    return read_versioned(uri, limit)[0]


def read_own(uri: str, limit: int) -> bytes:
    return read_bytes(uri, limit)


def read_versioned(uri: str, limit: int | None) -> tuple[bytes, str]:
    bucket, key = _object(uri)
    with explained(uri):
        for attempt in range(1, _READ_ATTEMPTS + 1):
            answer = client().get_object(Bucket=bucket, Key=key)
            # As a context manager it would be the raw stream, without botocore's checks of length and checksum.
            with closing(answer["Body"]) as body:
                if limit is not None and answer["ContentLength"] > limit:
                    raise TooLarge(f"is larger than the {limit} bytes allowed here", where=uri, remedy="replace it")
                try:
                    return body.read(), answer["ETag"]
                except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                    # botocore repeats requests, but not interrupted bodies.
                    if attempt == _READ_ATTEMPTS:
                        raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def write_bytes(uri: str, data: bytes) -> None:
    bucket, key = _object(uri)
    with explained(uri):
        client().put_object(Bucket=bucket, Key=key, Body=data)


def write_if_absent(uri: str, data: bytes) -> bool:
    return _put_if(uri, data, absent=True)


def write_if_version(uri: str, data: bytes, version: str) -> bool:
    return _put_if(uri, data, version=version)


def remove(uri: str) -> None:
    bucket, key = _object(uri)
    with explained(uri):
        client().delete_object(Bucket=bucket, Key=key)


def list_files(root: str) -> list[str]:
    bucket, key = split_s3(root)
    prefix = f"{key}/" if key else ""
    with explained(root):
        pages = client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    # A key that ends in a slash is an empty folder marker of some tool.
    return [key.removeprefix(prefix) for key in keys if not key.endswith("/")]


def upload(local_path: str, uri: str) -> None:
    bucket, key = _object(uri)
    if not local_files.exists(local_path):
        raise ObjectNotFound("does not exist", where=local_path, remedy="check the path")
    with explained(uri), Path(local_path).open("rb") as file:
        client().upload_fileobj(file, bucket, key, Config=TransferConfig(use_threads=True))


def download(uri: str, local_path: str) -> None:
    bucket, key = _object(uri)
    with explained(uri):
        try:
            local_files.receive(local_path, lambda file: client().download_fileobj(bucket, key, file))
        except ClientError as error:
            if error_code(error) in NO_KEY:
                _require_bucket(bucket, uri)
            raise


def check(root: str) -> None:
    bucket, key = split_s3(root)
    with explained(root):
        listed = client(patient=False).list_objects_v2(Bucket=bucket, Prefix=f"{key}/" if key else "", MaxKeys=1)
        # botocore accepts a web page as an empty listing.
        if "Name" not in listed and "IsTruncated" not in listed:
            raise not_s3(root, listed["ResponseMetadata"]["HTTPStatusCode"])


def _put_if(uri: str, data: bytes, *, absent: bool = False, version: str = "") -> bool:
    bucket, key = _object(uri)
    repeated = False
    with explained(uri):
        for attempt in range(1, _CONFLICT_ATTEMPTS + 1):
            try:
                if absent:
                    client().put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
                else:
                    client().put_object(Bucket=bucket, Key=key, Body=data, IfMatch=version)
                return True
            except ClientError as error:
                code = error_code(error)
                repeated = repeated or error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
                if code in _LOST:
                    # If the answer to a successful write was lost, its repeat fails because of that write.
                    return repeated and _holds(uri, data)
                if not absent and code in NO_KEY:
                    return False
                if code in _NO_CONDITIONS:
                    raise StorageError(
                        f"cannot be written: {server()} has no conditional writes, which keep two writers apart",
                        where=uri,
                        remedy="use another store",
                    ) from error
                if code not in _CONFLICT or attempt == _CONFLICT_ATTEMPTS:
                    raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _holds(uri: str, data: bytes) -> bool:
    try:
        return read_bytes(uri, None) == data
    except ObjectNotFound:
        return False


def _object(uri: str) -> tuple[str, str]:
    bucket, key = split_s3(uri)
    if not key:
        raise StorageError(f"{uri!r} names a bucket, not an object", remedy="write s3://bucket/key")
    return bucket, key


def _require_bucket(bucket: str, uri: str) -> None:
    """Raise an error if the bucket is missing: a HEAD request answers 404 for a missing bucket and a missing key."""
    try:
        client().head_bucket(Bucket=bucket)
    except ClientError as error:
        if error_code(error) in NO_KEY + NO_BUCKET:
            raise missing_bucket(bucket, uri) from error
        raise
