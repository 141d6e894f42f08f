"""S3 client of this process: its server and its retries.

boto3 is imported with the first client: most processes never speak to S3, and its import takes a third of a second.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from infra.errors import StorageError

if TYPE_CHECKING:
    from botocore.session import Session
    from mypy_boto3_s3 import S3Client
    from pyarrow.fs import FileSystem

CONNECT_SECONDS = 5
READ_SECONDS = 60
PATIENT_ATTEMPTS = 20
"""Attempts that outlast a server that is down for a minute. botocore waits a random part of 0.05, 0.1, 0.2, ...
seconds, at most 20: of nineteen waits the first nine take 13 s on average and the others 10 s each. This is less than
a minute about once in a hundred times, and at most four minutes. Older versions begin with a second and wait longer."""
ARROW_ATTEMPTS = 16
"""The same for Arrow's client, which waits a random part of 1, 2, 4, ... seconds, at most 20."""
IMPATIENT_ATTEMPTS = 6
"""Enough for a busy server; one that is down is found in a second."""
WORTH_SAYING = 6
"""Attempts after which a warning is logged, since waits take seconds from then on."""

logger = logging.getLogger("speechprompt.storage")
_patient = True


@contextmanager
def impatient() -> Iterator[None]:
    """Do not wait for a server that is down, in this process for the duration of the block, since a user is waiting."""
    global _patient
    before, _patient = _patient, False
    try:
        yield
    finally:
        _patient = before


def client(*, patient: bool = True) -> S3Client:
    """Return the process's client; after a fork or changed settings it is a new one.

    Args:
        patient: whether to wait for a server that is down, except in ``impatient``; ``AWS_MAX_ATTEMPTS`` changes how
            long.
    """
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_MAX_ATTEMPTS")
    identity = tuple(os.environ.get(name) for name in names)
    return _new_client(
        os.getpid(), endpoint(), region(), PATIENT_ATTEMPTS if patient and _patient else IMPATIENT_ATTEMPTS, identity
    )


def endpoint() -> str | None:
    """Return the server's URL from the environment; ``None`` for AWS itself."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def region() -> str | None:
    """Return the region from the environment."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None


def server() -> str:
    """Return the server's name for messages: scheme and host only, since an endpoint may hold a password."""
    url = endpoint()
    return "AWS" if url is None else "://".join(_scheme_and_host(url))


def arrow_filesystem() -> FileSystem:
    """Return Arrow's client of the same server; it finds its credentials by itself, also after pickling."""
    from botocore.session import Session

    from infra.arrow_s3 import ArrowS3

    options: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "request_timeout": READ_SECONDS}
    if name := region():
        options["region"] = name
    if url := endpoint():
        options["scheme"], options["endpoint_override"] = _scheme_and_host(url)
    return ArrowS3(options, attempts=_max_attempts(Session()) or ARROW_ATTEMPTS)


@lru_cache(maxsize=8)
def _new_client(
    process: int,  # noqa: ARG001  part of the cache's key: connections do not survive a fork
    url: str | None,
    region_name: str | None,
    attempts: int,
    identity: tuple[str | None, ...],  # noqa: ARG001  part of the cache's key: botocore reads it itself
) -> S3Client:
    from boto3.session import Session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session as BotocoreSession

    if url is not None and not re.match(r"https?://[^/\s]", url):
        raise StorageError("AWS_ENDPOINT_URL_S3 is not a URL", remedy="write it like http://host:port")
    try:
        # Its own session, since making a client from the default one is not thread-safe.
        session = BotocoreSession()
        attempts = _max_attempts(session) or attempts
        made = Session(botocore_session=session).client(
            "s3",
            endpoint_url=url,
            region_name=region_name,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": attempts},
                s3={"addressing_style": "path"},  # few local servers have a host name for each bucket
            ),
        )
    except BotoCoreError:
        raise
    except ValueError as error:
        if "invalid literal" in str(error):
            raise StorageError("AWS_MAX_ATTEMPTS is not a number of attempts", remedy="write 1 or more") from error
        raise StorageError("AWS_ENDPOINT_URL_S3 is not a URL", remedy="write it like http://host:port") from error
    _retry_without_quota(made, attempts)
    return made


def _max_attempts(session: Session) -> int | None:
    """Return ``AWS_MAX_ATTEMPTS``, or ``max_attempts`` of the profile."""
    said: int | None = session.get_config_variable("max_attempts")
    return said


def _retry_without_quota(made: S3Client, attempts: int) -> None:
    """Continue botocore's retries when its quota is used up.

    A client's quota of 500 pays for 35 retries, at 14 each, and each successful call returns one: eight threads that
    read during an outage use it up in seconds. This handler runs after botocore's own, and acts only if that one gave
    up while attempts are left.
    """
    from botocore.retries.standard import (
        ExponentialBackoff,
        RetryEventAdapter,
        RetryHandler,
        RetryPolicy,
        StandardRetryConditions,
    )

    handler = RetryHandler(
        retry_policy=RetryPolicy(StandardRetryConditions(max_attempts=attempts), ExponentialBackoff()),
        retry_event_adapter=RetryEventAdapter(),
        retry_quota=_NoQuota(),  # type: ignore[arg-type]  # the stubs name another class
    )
    outage = _Outage(attempts)
    # Registered first: the first answer of several handlers counts, and this one gives none.
    made.meta.events.register_first("needs-retry.s3", outage.noticed)
    made.meta.events.register_last("needs-retry.s3", handler.needs_retry)  # type: ignore[arg-type]  # it may answer
    made.meta.events.register("after-call.s3", outage.over)


class _NoQuota:
    def acquire_retry_quota(self, context: object) -> bool:  # noqa: ARG002
        return True


class _Outage:
    """Logs once that a server does not answer, and once that it answers again."""

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts
        self._said = False
        self._lock = threading.Lock()

    def noticed(self, attempts: int, caught_exception: Exception | None, response: Any, **_: object) -> None:
        if self._said or not WORTH_SAYING <= attempts < self._attempts:
            return
        if caught_exception is None and (response is None or response[0].status_code < 500):
            return
        with self._lock:
            if self._said:
                return
            self._said = True
        what = "does not answer" if response is None else f"answers {response[0].status_code}"
        logger.warning("%s %s; waiting for it, up to %d attempts (AWS_MAX_ATTEMPTS)", server(), what, self._attempts)

    def over(self, http_response: Any, **_: object) -> None:
        if self._said and http_response is not None and http_response.status_code < 500:
            self._said = False
            logger.warning("%s answers again", server())


def _scheme_and_host(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2]
