"""Views of a backbone: a table for people, JSON for programs."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table

from orchestrator.progress import as_text
from workers.backbone.directory import Backbone

_SHOWN_NUMBERS = 4


def backbone_rows(backbone: Backbone) -> dict[str, Any]:
    """Return the description of a backbone as JSON values."""
    config = backbone.config.model_dump(mode="json")
    return {
        "name": backbone.name,
        "unit_lm": config.pop("kind"),
        **config,
        "parameters": sum(tensor.size for tensor in backbone.lm_tensors.values()),
        "tokenizer": backbone.tokenizer.config(),
        "units": backbone.tokenizer.units,
        "tokenizer_parameters": sum(tensor.size for tensor in backbone.tokenizer.tensors().values()),
        "lm_fingerprint": backbone.lm_fingerprint,
        "tokenizer_fingerprint": backbone.tokenizer_fingerprint,
        "licence": backbone.licence,
    }


def backbone_table(backbone: Backbone) -> Table:
    """Return the description as a table, without empty values."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in backbone_rows(backbone).items():
        if value not in ("", []):
            table.add_row(name.replace("_", " "), as_text(_shown(value)))
    return table


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(entry)}" for name, entry in value.items())
    if isinstance(value, list):
        if len(value) > _SHOWN_NUMBERS:
            return f"{len(value)} values from {_shown(value[0])} to {_shown(value[-1])}"
        return json.dumps(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
