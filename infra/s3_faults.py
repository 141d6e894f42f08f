"""Errors of S3 stores and botocore as one sentence with a remedy; their own texts may hold keys and tokens."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    CredentialRetrievalError,
    EndpointProviderError,
    HTTPClientError,
    InvalidChecksumConfigError,
    InvalidMaxRetryAttemptsError,
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    SSLError,
    UnknownEndpointError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from s3transfer.exceptions import RetriesExceededError

from infra.errors import ObjectNotFound, StorageError, StoreUnreachable
from infra.s3_client import server
from infra.uris import split_s3

NO_KEY = ("NoSuchKey", "NotFound", "404")
NO_BUCKET = ("NoSuchBucket",)
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
_ELSEWHERE = (
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "TemporaryRedirect",
    "301",
    "307",
)
_RIGHTS = {
    "GetObject": "s3:GetObject and s3:ListBucket, without which S3 also refuses objects that do not exist",
    "HeadObject": "s3:GetObject and s3:ListBucket, without which S3 also refuses objects that do not exist",
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
}


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn errors in the block, which works on ``uri``, into one sentence.

    Raises:
        ObjectNotFound: the object does not exist.
        StoreUnreachable: the server does not answer, or fails.
        StorageError: the store or the AWS settings cause any other error.
    """
    try:
        yield
    except ClientError as error:
        raise _refusal(error, uri) from error
    except RecursionError as error:
        # botocore follows a redirect without a region back to the same server.
        raise _elsewhere("", uri) from error
    except RetriesExceededError as error:
        raise StorageError(
            "could not be transferred completely", where=uri, remedy=f"check the connection to {server()}"
        ) from error
    except (BotoConnectionError, HTTPClientError) as error:
        raise _no_answer(error, uri) from error
    except BotoCoreError as error:
        reason, remedy = _setting(error)
        raise StorageError(f"cannot be used: {reason}", where=uri, remedy=remedy) from error
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or type(error).__name__
        raise StorageError(
            f"cannot be used ({reason})", where=uri, remedy="check that file and the AWS settings"
        ) from error


def error_code(error: ClientError) -> str:
    """Return the code in the store's answer, or its HTTP status if there is none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def missing_bucket(bucket: str, uri: str) -> StorageError:
    """Return the error for a bucket that does not exist."""
    return StorageError(
        f"cannot be used: there is no bucket {bucket!r} at {server()}",
        where=uri,
        remedy="create it or correct the name",
    )


def not_s3(uri: str, status: int) -> StorageError:
    """Return the error for a server that is not a store."""
    return StorageError(
        f"cannot be used: {server()} answered {status}, but not as S3 does",
        where=uri,
        remedy="check AWS_ENDPOINT_URL_S3, which may name a console or a proxy",
    )


def _refusal(error: ClientError, uri: str) -> StorageError:
    code, status = error_code(error), error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in NO_BUCKET:
        return missing_bucket(split_s3(uri)[0], uri)
    if code in NO_KEY:
        return ObjectNotFound("does not exist", where=uri, remedy="check the path")
    if code == "AccessDenied" and error.operation_name in _RIGHTS:
        return StorageError(
            "was refused (AccessDenied)",
            where=uri,
            remedy=f"grant this account {_RIGHTS[error.operation_name]}, or use another one",
        )
    if code in _REFUSED:
        return StorageError(
            f"was refused ({code})", where=uri, remedy="check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and their rights"
        )
    if code == "RequestTimeTooSkewed":
        return StorageError(
            f"was refused: this machine's clock and that of {server()} differ", where=uri, remedy="set the clock"
        )
    if code in _ELSEWHERE:
        headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
        named = re.search(r"expecting '([a-z0-9-]+)'", error.response.get("Error", {}).get("Message", ""))
        return _elsewhere(headers.get("x-amz-bucket-region") or (named[1] if named else ""), uri)
    if code == "InvalidBucketName":
        return _bucket_name(uri)
    if status == 407:
        return StorageError(
            "is out of reach: the proxy asks for a login",
            where=uri,
            remedy="write it into HTTPS_PROXY, or set NO_PROXY",
        )
    if status >= 500 or code == "SlowDown":
        return StoreUnreachable(
            f"cannot be used now: {server()} answered {code or status}", where=uri, remedy="check the server"
        )
    if not code:
        return not_s3(uri, status)
    return StorageError(
        f"cannot be used: {server()} answered {code}", where=uri, remedy="look the code up in its documentation"
    )


def _no_answer(error: Exception, uri: str) -> StorageError:
    said = str(error)
    if isinstance(error, ProxyConnectionError) or re.search(r"Proxy(Error| URL|Scheme)|to proxy", said):
        return StoreUnreachable(
            "is out of reach: the proxy does not answer",
            where=uri,
            remedy=f"check HTTPS_PROXY and HTTP_PROXY, or set NO_PROXY to the host of {server()}",
        )
    if "Invalid header value" in said:
        return StorageError(
            "cannot be used: the credentials hold an invalid character", where=uri, remedy="set them again"
        )
    if isinstance(error, SSLError):
        bundle = os.environ.get("AWS_CA_BUNDLE", "")
        if bundle and not Path(bundle).exists():
            return StorageError(
                "cannot be used: AWS_CA_BUNDLE names no file", where=uri, remedy="correct it, or unset it"
            )
        remedy = "write http:// in AWS_ENDPOINT_URL_S3" if "WRONG_VERSION" in said else "set AWS_CA_BUNDLE"
        return StorageError(
            f"is out of reach: {server()} has no trusted certificate, or no TLS", where=uri, remedy=remedy
        )
    return StoreUnreachable(
        f"is out of reach: no answer from {server()}", where=uri, remedy="check AWS_ENDPOINT_URL_S3 and the server"
    )


def _setting(error: BotoCoreError) -> tuple[str, str]:
    """Return what is wrong with the AWS settings, and the remedy."""
    match error:
        case NoCredentialsError():
            return "it needs credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE"
        case PartialCredentialsError():
            return "only one half of the credentials is set", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        case CredentialRetrievalError():
            return "the credential provider fails", "run the credential_process of ~/.aws/config by hand"
        case ProfileNotFound():
            profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
            return f"there is no profile {profile!r} in ~/.aws/config", "correct AWS_PROFILE, or unset it"
        case ConfigParseError():
            return f"{error.kwargs.get('path')} cannot be parsed", "correct it, or name another in AWS_CONFIG_FILE"
        case InvalidRegionError():
            return "AWS_REGION is not the name of a region", "write it like eu-central-1"
        case InvalidMaxRetryAttemptsError():
            return "AWS_MAX_ATTEMPTS is not a number of attempts", "write 1 or more"
        case InvalidChecksumConfigError():
            remedy = "write when_required or when_supported in AWS_REQUEST_CHECKSUM_CALCULATION and _RESPONSE_..."
            return "a checksum setting is not valid", remedy
        case EndpointProviderError() | UnknownEndpointError():
            return (
                "AWS_ENDPOINT_URL_S3 and AWS_REGION name no server",
                "write http://host:port, a region like eu-central-1",
            )
        case ParamValidationError():
            return "the bucket's name is not valid", "write 3 to 63 lower-case letters, digits, dots and hyphens"
    return type(error).__name__, "check the AWS settings, in the environment and in ~/.aws/config"


def _bucket_name(uri: str) -> StorageError:
    return StorageError(
        "cannot be used: the bucket's name is not valid",
        where=uri,
        remedy="write 3 to 63 lower-case letters, digits, dots and hyphens",
    )


def _elsewhere(region: str, uri: str) -> StorageError:
    where = f"region {region}" if region else "another region, or at another address"
    remedy = f"set AWS_REGION={region}" if region else "set AWS_REGION to the bucket's, and check AWS_ENDPOINT_URL_S3"
    return StorageError(f"cannot be used: its bucket is in {where}", where=uri, remedy=remedy)
