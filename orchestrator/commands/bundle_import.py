"""``speechprompt bundle import``: a prompt of the reference code in, a bundle out."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import click

from infra import object_storage
from infra.errors import BundleError
from infra.printable import printable
from orchestrator import __version__
from orchestrator.commands.options import closing


@click.command(
    "import",
    epilog=closing(
        "bundle import checkpoint_best.pt --labels verbalizer.json --backbone models/gslm --task words --out bundles"
    ),
)
@click.argument("checkpoint", metavar="CHECKPOINT.pt")
@click.option("--labels", required=True, metavar="FILE", help="The reference's verbalizer.json, or one label per line.")
@click.option("--backbone", required=True, metavar="URI", help="The GSLM it was tuned on, from 'backbone import'.")
@click.option("--task", required=True, metavar="NAME", help="How the task is called, such as google-speech-commands.")
@click.option("--out", required=True, metavar="URI", help="Directory of all bundles, local or s3://.")
@click.option("--family", default="", help="Kind of task, such as SCR; for the model card.")
@click.option("--language", default="", help="Of the recordings, such as lt; for the model card.")
def import_(checkpoint: str, labels: str, backbone: str, task: str, out: str, family: str, language: str) -> None:
    """Convert a prompt that the reference code tuned (SpeechPrompt v1 or v2) to a bundle with the same answers.

    Tasks of several labels per recording cannot be converted: the reference generates them one after the other, where
    a bundle reads all of them in one pass.
    """
    from pydantic import ValidationError

    from workers.backbone.directory import read_backbone
    from workers.bundle.manifest import Provenance, Task
    from workers.bundle.publish import publish
    from workers.fairseq.checkpoint import read_checkpoint
    from workers.interop.prompt import reference_bundle
    from workers.interop.prompt_labels import read_labels

    here = str(Path.cwd())
    checkpoint, labels, backbone, out = (
        object_storage.resolve(path, here) for path in (checkpoint, labels, backbone, out)
    )
    try:
        described = Task(name=task, family=family, language=language)
        provenance = Provenance(created=datetime.now(UTC), code_version=__version__, backbone_uri=backbone)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        option = {"name": "task"}.get(str(first["loc"][0]), first["loc"][0])
        raise BundleError(
            f"--{option}: {first['msg']}; a task's name is at most 64 of a-z, 0-9, '.', '_' and '-'"
        ) from error
    read = read_checkpoint(checkpoint)
    names = read_labels(labels)
    digest = hashlib.sha256(object_storage.read_bytes(checkpoint) + object_storage.read_bytes(labels)).hexdigest()
    made = reference_bundle(read, names, read_backbone(backbone), task=described, digest=digest, provenance=provenance)
    published = publish(out, made)
    for note in read.notes:
        click.echo(printable(f"note: {note}"))
    classes = len(made.manifest.slots[0].labels)
    click.echo(f"{published.uri}: {made.manifest.parameters:,} numbers, {classes} labels")
