"""Logs for machines: one JSON object a line, with what it is about in fields of its own."""

from __future__ import annotations

import json
import logging
import os
import socket
from datetime import UTC, datetime
from typing import Any, TextIO

from infra.printable import printable_json
from infra.redaction import redacted

ROOT = "speechprompt"
"""Logger above all of the product's own."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_HOST = socket.gethostname()
_fields: dict[str, str] = {}


class JsonFormatter(logging.Formatter):
    """Time (ISO 8601, UTC), level, logger, host, process and message, the fields of the process, and what ``extra`` the
    record has."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "host": _HOST,
            "pid": os.getpid(),
            "message": redacted(record.getMessage()),
            **_fields,
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = redacted(self.formatException(record.exc_info))
        return printable_json(json.dumps(line, ensure_ascii=False, default=str))


def log_fields(**fields: str) -> None:
    """Fields of every further line of this process, in place of those set before."""
    _fields.clear()
    _fields.update(fields)


def logs_as_json() -> bool:
    """Whether ``log_as_json`` has been called in this process."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger(ROOT).handlers)


def log_as_json(stream: TextIO | None = None) -> None:
    """Write what the product's loggers say, from level INFO, as JSON lines.

    Args:
        stream: where to; standard error where it is left out.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger(ROOT)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
