"""Tracking URIs and server messages without the credentials in them."""

from __future__ import annotations

import os
import re

USER_INFO = re.compile(r"(?<=://)[^/\s]*@")
QUERY_SECRET = re.compile(r"(?i)((?:password|passwd|pwd|token|secret)=)[^&;\s]+")
SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


def redacted(text: str) -> str:
    """The text with the credentials of URIs, and those of the environment, replaced by ``***``."""
    text = USER_INFO.sub("***@", text)
    text = QUERY_SECRET.sub(r"\1***", text)
    for variable in SECRET_VARIABLES:
        if secret := os.environ.get(variable):
            text = text.replace(secret, "***")
    return text


def without_user_info(uri: str) -> str:
    """The same store, whoever asks: names spools, so that a changed password does not orphan one."""
    return USER_INFO.sub("", uri)
