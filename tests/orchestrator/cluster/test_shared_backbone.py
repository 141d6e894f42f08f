"""The LM that a job loads is the one for which it was planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.errors import BackboneError
from orchestrator.cluster import shared_backbone
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import write_backbone


def test_another_lm_than_was_planned_is_refused_where_it_is_read(tmp_path: Path) -> None:
    """In the worker, which reads it once more where Ray lost it."""
    planned, uri = tiny_backbone().lm_fingerprint, str(tmp_path / "backbone")
    remote: Any = shared_backbone._load
    write_backbone(tiny_backbone(), uri)
    assert remote._function(uri, planned)[0] == planned
    other = str(tmp_path / "other")
    write_backbone(tiny_backbone(seed=1), other)
    with pytest.raises(BackboneError, match="was replaced since the job was planned") as raised:
        remote._function(other, planned)
    assert "\n" not in str(raised.value)
