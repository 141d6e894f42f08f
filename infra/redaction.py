"""Redaction of credentials in everything that is printed, logged or stored."""

from __future__ import annotations

import os
import re

USER_INFO = re.compile(r"(?<=://)[^/\s]*@")
QUERY_SECRET = re.compile(r"(?i)((?:password|passwd|pwd|token|secret)=)[^&;\s]+")
SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "RAY_AUTH_TOKEN",
)
SHORTEST_SECRET = 4
"""Shortest value that is redacted: shorter ones are not secrets, and removing them would make texts unreadable."""


def redacted(text: str) -> str:
    """Return text with credentials in URIs, and those of the environment, replaced by ``***``."""
    text = USER_INFO.sub("***@", text)
    text = QUERY_SECRET.sub(r"\1***", text)
    for variable in SECRET_VARIABLES:
        secret = os.environ.get(variable, "")
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text


def without_user_info(uri: str) -> str:
    """Return a URI without user and password; it names spools, so that a changed password does not orphan one."""
    return USER_INFO.sub("", uri)


def holds_credentials(text: str) -> bool:
    """Return whether a URI in the text has credentials that ``redacted`` would remove."""
    return USER_INFO.search(text) is not None or QUERY_SECRET.search(text) is not None
