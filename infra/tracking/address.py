"""A tracking URI as a field of what workers are told."""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainSerializer

from infra.redaction import redacted

Address = Annotated[str, PlainSerializer(redacted, when_used="json")]
"""Whole in memory; without credentials in JSON values, which Ray Tune and Ray Train keep on disk."""
