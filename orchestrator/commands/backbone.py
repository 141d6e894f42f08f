"""``speechprompt backbone``: pretrain, import and inspect backbones."""

from __future__ import annotations

import json
from pathlib import Path

import click

from infra import object_storage
from infra.printable import printable_json
from orchestrator.commands.backbone_import import import_
from orchestrator.commands.options import JSON, OVERRIDES, closing
from orchestrator.exit_codes import INTERRUPTED, RAY_FAILED
from orchestrator.progress import results_console


@click.group()
def backbone() -> None:
    """Pretrain, import and inspect backbones: a tokenizer and a frozen unit LM."""


@backbone.command(
    epilog=closing(
        "backbone pretrain backbone.yaml",
        codes={INTERRUPTED: "it was interrupted, and resumes when it is run again", RAY_FAILED: "Ray failed"},
    )
)
@click.argument("pretrain_file", metavar="BACKBONE.yaml")
@OVERRIDES
def pretrain(pretrain_file: str, overrides: tuple[str, ...]) -> None:
    """Pretrain a unit LM on the units of tasks' training rows, without their labels.

    SIGTERM and Ctrl-C end it at once; when it is run again, it goes on from its last evaluation.
    """
    from orchestrator.cluster.interruption import interruptible
    from orchestrator.cluster.session import ray_session
    from orchestrator.pretraining.file import load_pretrain_file
    from orchestrator.progress import ProgressView

    with interruptible(again="pretrain again and it goes on from its last evaluation") as interruption:
        described = load_pretrain_file(pretrain_file, overrides)
        with ProgressView() as view, ray_session():
            from orchestrator.pretraining.pretraining import pretrain_backbone

            interruption.listen()
            made = pretrain_backbone(described, view)
    click.echo(
        f"{made.uri}: validation perplexity {made.perplexity:.2f} per unit, best at step {made.best_step:,} "
        f"of {made.steps:,}"
    )


@backbone.command(epilog=closing("backbone inspect s3://models/gslm-hubert100"))
@click.argument("uri")
@JSON
def inspect(uri: str, as_json: bool) -> None:
    """Verify every file of a backbone, and show its kinds, sizes, vocabulary, fingerprints and licence."""
    from orchestrator.views.backbone import backbone_rows, backbone_table
    from workers.backbone.directory import read_backbone

    found = read_backbone(object_storage.resolve(uri, str(Path.cwd())))
    if as_json:
        click.echo(printable_json(json.dumps(backbone_rows(found), indent=2, ensure_ascii=False)))
    else:
        results_console().print(backbone_table(found))


@backbone.command(epilog=closing("backbone pull s3://models/gslm-hubert100 bundles"))
@click.argument("uri")
@click.argument("directory")
def pull(uri: str, directory: str) -> None:
    """Copy the backbone at URI to DIRECTORY/backbones, where bundles in DIRECTORY find it, checking every byte."""
    from workers.backbone.beside import pull_backbone

    here = str(Path.cwd())
    click.echo(pull_backbone(object_storage.resolve(uri, here), object_storage.resolve(directory, here)))


backbone.add_command(import_)
