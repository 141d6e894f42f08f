"""What MLflow, its HTTP client and its database say when a store cannot be used: the reason, and what to do."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from infra.printable import printable
from infra.redaction import redacted

LONGEST_REASON = 200
NOT_MLFLOW = "it does not answer as an MLflow server does"
LOCK_SECONDS = 2.0
"""As long as somebody's writing may take."""
_READ = 20_000
"""Characters of what was said that are looked through; a page of HTML may be any number."""

_FAULTS = (
    (
        r"database schema \(found version (\w+), but expected (\w+)\)",
        r"its tables are those of another MLflow, version \1 instead of \2",
        "run 'mlflow db upgrade' on it if this MLflow is the newer one, or else install a newer MLflow",
    ),
    (r"database is locked", None, "end the program that holds it, or name another file"),
    (r"database or disk is full|No space left on device", None, "make room there"),
    (r"file is not a database|database disk image is malformed", None, "name another file, or put back a copy of it"),
    (r"readonly database", None, "make it and its directory writable, or name another file"),
    (r"unable to open database file", None, "name a file that can be read and written"),
    (r"Invalid Host header", "it does not serve this host name", "start it with --allowed-hosts and that name"),
    (
        r"error code 401",
        "it wants a login",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    ),
    (
        r"error code 403|PERMISSION_DENIED",
        "it refuses this account",
        "ask for the right to write there, or use another account by MLFLOW_TRACKING_USERNAME",
    ),
    (
        rf"error code 404|ENDPOINT_NOT_FOUND|valid JSON|Exceeded \d+ redirects|more than \d+ MiB|{NOT_MLFLOW}",
        NOT_MLFLOW,
        "name the server itself, as in http://host:port, not a page of it nor a login before it",
    ),
    (r"no whole answer in time", None, "look after the server, or what stands between"),
    (r"WRONG_VERSION_NUMBER", "it speaks no TLS", "write http:// instead of https://"),
    (
        r"certificate|SSLError",
        "its certificate is not trusted",
        "set MLFLOW_TRACKING_SERVER_CERT_PATH to the certificate that signed it",
    ),
    (r"No module named '(\w+)'", "its driver \\1 is not installed", "pip install it, or name an MLflow server"),
    (
        r"Databricks",
        "it finds no login of Databricks",
        "set DATABRICKS_HOST and DATABRICKS_TOKEN, or name an MLflow server",
    ),
    (r"Can't load plugin|Could not parse", None, "write http://host:port, sqlite:///mlflow.db or postgresql://..."),
    (r"Invalid url", "that is no URL", "write it like http://host:port"),
    (r"too many (\d+) error responses|error code (5\d\d|429)", "it answers \\1\\2", "look after the server"),
)
"""Pattern of what was said, reason (``None``: what the pattern found) and remedy; the first that fits counts."""


def reason_and_remedy(error: Exception | str) -> tuple[str, str]:
    """Why a store cannot be used, in at most 200 characters that can be shown, and what to do.

    Where nothing better is known the reason is the system's own word, such as "Connection refused", or the first line
    of what was said: an HTTP client wraps its cause in all it tried, a database's message goes on with its statement.
    """
    text = str(error)[:_READ]
    for pattern, word, remedy in _FAULTS:
        if found := re.search(pattern, text):
            return _short(found.expand(word).strip() if word else found[0]), remedy
    said = re.search(r"\[Errno -?\d+\] ([\w ]+)", text)
    reason = said[1] if said else next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return _short(reason), "start the server or correct the URI"


def shown(error: Exception | str) -> str:
    """The reason alone."""
    return reason_and_remedy(error)[0]


def may_pass(error: Exception) -> bool:
    """Whether there was no answer, or one of a server that is not well; MLflow tells by its texts alone."""
    text = str(error)[:_READ]
    lasting = re.search(r"certificate|SSLError|Exceeded \d+ redirects|more than \d+ MiB", text)
    passing = re.search(
        r"failed with (timeout )?exception|error code (5\d\d|429)|database is locked|disk is full", text
    )
    return lasting is None and passing is not None


def damaged(error: Exception) -> bool:
    """Whether a database lost what it had, so that an older copy may come in its place."""
    return re.search(r"file is not a database|database disk image is malformed", str(error)[:_READ]) is not None


def _short(reason: str) -> str:
    return printable(redacted(reason))[:LONGEST_REASON]


def try_database(database: Path) -> None:
    """Open a SQLite file for writing, without writing; MLflow would try for minutes.

    Raises:
        sqlite3.Error: why it cannot be.
    """
    name = f"file:{quote(str(database))}?mode=rw"
    with closing(sqlite3.connect(name, uri=True, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.execute("ROLLBACK")
