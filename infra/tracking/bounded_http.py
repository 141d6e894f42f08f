"""MLflow's HTTP calls end: after so many seconds in all, and so many bytes of answer.

MLflow has a timeout for silence alone. A server, or what stands in its place, that sends a byte a second would hold a
caller for ever, and one that sends without end would fill the memory.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Retry

ANSWER_BYTES = 32 << 20
"""More than the longest history of a metric, which MLflow sends in one piece."""
CALL_SECONDS = 60.0
BLOCK_BYTES = 1 << 16

_end: ContextVar[float] = ContextVar("_end", default=float("inf"))
_call: ContextVar[_Call | None] = ContextVar("_call", default=None)


def bound_calls() -> None:
    """Have all HTTP calls of MLflow in this process end; may be repeated."""
    from mlflow.utils import request_utils

    # MLflow has no place to hand it a session; all its versions get theirs here.
    theirs = request_utils._get_request_session
    if getattr(theirs, "bounded", False):
        return

    def session(*args: Any, **named: Any) -> requests.Session:
        return _bounded(theirs(*args, **named))  # type: ignore[no-untyped-call]

    session.bounded = True  # type: ignore[attr-defined]
    request_utils._get_request_session = session


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """The calls within the block end when it is over, all together."""
    token = _end.set(min(_end.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _end.reset(token)


def head(uri: str, seconds: float) -> requests.Response:
    """What a server says of a page, without the page.

    Args:
        uri: of the page.
        seconds: after which there is no answer.

    Raises:
        requests.RequestException: there is none.
    """
    with at_most(seconds), _Session() as session:
        return session.head(uri)


@lru_cache(maxsize=64)
def _bounded(session: requests.Session) -> requests.Session:
    """A session of the same retries; MLflow keeps one for each process and kind of call."""
    return _Session(session.get_adapter("https://").max_retries)  # type: ignore[attr-defined]


class _Call:
    """Breaks the connection that is in use when the time is over."""

    def __init__(self) -> None:
        self._seconds = min(CALL_SECONDS, _end.get() - time.monotonic())
        self._lock = threading.Lock()
        self._used: socket.socket | None = None
        self._over = self._seconds <= 0
        self._timer = threading.Timer(self._seconds, self._break)
        self._timer.daemon = True

    def use(self, connection: socket.socket | None) -> None:
        """This is the one now, after a redirection or a repetition."""
        with self._lock:
            self._used = connection
        self.require_time()

    def require_time(self) -> None:
        if self._over:
            raise requests.exceptions.ReadTimeout("no whole answer in time")

    def _break(self) -> None:
        with self._lock:
            self._over = True
            if self._used is not None:
                # The method of a TLS socket would pull the protocol from under whoever reads.
                with suppress(OSError):
                    socket.socket.shutdown(self._used, socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._token = _call.set(self)
        if not self._over:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _call.reset(self._token)
        self._timer.cancel()
        with self._lock:
            # The next call may use the same connection.
            self._used = None


class _Session(requests.Session):
    def __init__(self, max_retries: Retry | int = 0) -> None:
        super().__init__()
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter(max_retries=max_retries))
        self.hooks["response"].append(_read)

    def request(self, *args: Any, **options: Any) -> requests.Response:
        with _Call() as call:
            call.require_time()
            try:
                answer = super().request(*args, **options)
            except Exception:
                # What a broken connection looks like depends on where it broke.
                call.require_time()
                raise
            call.require_time()
            return answer


def _read(answer: requests.Response, *, stream: bool = False, **_: object) -> None:
    """Read the body, unless the caller means to."""
    if stream:
        return
    content = bytearray()
    for block in answer.iter_content(BLOCK_BYTES):
        content += block
        if len(content) > ANSWER_BYTES:
            answer.close()
            raise requests.exceptions.RequestException(f"an answer of more than {ANSWER_BYTES >> 20} MiB")
    answer._content = bytes(content)


class _Watched(HTTPConnection):
    """Tells the call that is under way which socket it uses."""

    def send(self, data: Any) -> None:
        super().send(data)
        if (call := _call.get()) is not None:
            call.use(self.sock)


class _WatchedTLS(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **named: Any) -> None:
        super().init_poolmanager(*args, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}

    def proxy_manager_for(self, *args: Any, **named: Any) -> Any:
        manager = super().proxy_manager_for(*args, **named)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}
        return manager
