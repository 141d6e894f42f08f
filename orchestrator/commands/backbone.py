"""``speechprompt backbone``: make and look at backbones."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from infra import object_storage
from orchestrator.console import results_console


@click.group()
def backbone() -> None:
    """Make and look at backbones: a tokenizer and a frozen unit LM."""


@backbone.command()
@click.argument("pretrain_file", metavar="BACKBONE.yaml")
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Set a field of the file.")
def pretrain(pretrain_file: str, overrides: tuple[str, ...]) -> None:
    """Pretrain a unit LM on the unlabelled units of some tasks' training rows."""
    from orchestrator.cluster import ray_session
    from orchestrator.pretrain_file import load_pretrain_file
    from orchestrator.progress import ProgressView

    described = load_pretrain_file(pretrain_file, overrides)
    with ProgressView() as view, ray_session():
        from orchestrator.pretraining import pretrain_backbone

        made = pretrain_backbone(described, view)
    click.echo(
        f"{made.uri}: validation perplexity {made.perplexity:.2f} per unit, best at step {made.best_step:,} "
        f"of {made.steps:,}"
    )


@backbone.command()
@click.argument("uri")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
def inspect(uri: str, as_json: bool) -> None:
    """Kinds, sizes, vocabulary, parameter count and fingerprints; every file is verified."""
    from workers.backbone.directory import read_backbone

    found = read_backbone(object_storage.resolve(uri, str(Path.cwd())))
    rows = {
        "name": found.name,
        "unit_lm": "gslm",
        "layers": found.config.layers,
        "dim": found.config.dim,
        "heads": found.config.heads,
        "ffn_dim": found.config.ffn_dim,
        "vocabulary": found.config.vocabulary,
        "parameters": sum(tensor.size for tensor in found.lm_tensors.values()),
        "tokenizer": found.tokenizer.config(),
        "units": found.tokenizer.units,
        "lm_fingerprint": found.lm_fingerprint,
        "tokenizer_fingerprint": found.tokenizer_fingerprint,
        "licence": found.licence,
    }
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table(show_header=False)
    for name, value in rows.items():
        shown = json.dumps(value) if isinstance(value, dict) else f"{value:,}" if isinstance(value, int) else value
        table.add_row(name, Text(str(shown)))
    results_console().print(table)
