"""Logs for programs: one JSON object per line, with structured fields."""

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
"""Parent of all of the product's loggers."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_HOST = socket.gethostname()
_fields: dict[str, str] = {}


class JsonFormatter(logging.Formatter):
    """Formats time (ISO 8601, UTC), level, logger, host, process, message, the fields of the process, and the record's
    ``extra``."""

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
    """Set the fields of all further lines of this process, replacing those set before."""
    _fields.clear()
    _fields.update(fields)


def logs_as_json() -> bool:
    """Return whether ``log_as_json`` was called in this process."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger(ROOT).handlers)


def log_as_json(stream: TextIO | None = None) -> None:
    """Write records of the product's loggers, from level INFO, as JSON lines.

    Args:
        stream: stream to write to; default: standard error.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger(ROOT)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
