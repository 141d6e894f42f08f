"""``speechprompt bundle``: look at published bundles, check them, and fetch them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra import object_storage
from infra.printable import first_of, printable
from orchestrator.commands.bundle_import import import_
from orchestrator.commands.bundle_sign import keygen, sign
from orchestrator.commands.options import JSON, closing
from orchestrator.progress import PlainConsole, as_text

if TYPE_CHECKING:
    from task_specs.example import Split
    from workers.bundle.listing import BundleRow
    from workers.bundle.manifest import BundleManifest
    from workers.bundle.signing import TrustedKey

__all__ = ["bundle"]

_LABELS_SHOWN, _STRAYS_SHOWN = 20, 20
_PIPE_WIDTH = 200
_trusted_option = click.option(
    "--trusted", multiple=True, metavar="KEY.pub", help="Refuse the bundle unless one of these keys has signed it."
)


@click.group()
def bundle() -> None:
    """List, inspect, verify, fetch, sign and import prompt bundles.

    A bundle is named by its directory, local or s3://: <bundles>/<task> for the latest version of a task,
    or <bundles>/<task>/<version>.
    """


@bundle.command("list", epilog=closing("bundle list s3://prompts/baltic", codes={1: "a bundle cannot be read"}))
@click.argument("root")
@JSON
@click.pass_context
def list_(context: click.Context, root: str, as_json: bool) -> None:
    """List all bundles below ROOT, by task, oldest first, and name files that belong to none of them."""
    from infra.errors import StorageError
    from task_specs.near_paths import path_remedy
    from workers.bundle.listing import list_store

    place = _absolute(root)
    if not object_storage.is_s3(place) and not Path(place).is_dir():
        raise StorageError(f"{root}: there is no such directory", remedy=path_remedy(place))
    store = list_store(place)
    rows = store.rows
    if as_json:
        _print_json([_row_json(row) for row in rows])
    elif rows:
        _console().print(_table(rows))
    else:
        click.echo(f"No bundles below {root}.")
    for row in rows:
        if row.problem and not as_json:
            click.echo(printable(row.problem), err=True)
    if store.strays:
        click.echo(
            f"belongs to no bundle: {first_of([printable(name) for name in store.strays], _STRAYS_SHOWN)}", err=True
        )
    if any(row.problem for row in rows):
        context.exit(1)


@bundle.command(epilog=closing("bundle inspect s3://prompts/baltic/wake-word"))
@click.argument("uri")
@JSON
def inspect(uri: str, as_json: bool) -> None:
    """Show what the bundle at URI says about itself."""
    from workers.bundle.read import find

    found = find(_absolute(uri))
    if as_json:
        _print_json({"uri": found.uri, "version": found.version, **found.manifest.model_dump(mode="json")})
    else:
        print_manifest(found.uri, found.manifest, _console())


@bundle.command("verify", epilog=closing("bundle verify s3://prompts/baltic/wake-word --trusted team.pub"))
@click.argument("uri")
@_trusted_option
@JSON
def verify_(uri: str, trusted: tuple[str, ...], as_json: bool) -> None:
    """Read every file of the bundle at URI and compare digests, sizes, shapes and numbers."""
    from workers.bundle.read import verify

    found = verify(_absolute(uri), trusted=_keys(trusted))
    if as_json:
        _print_json({"uri": found.uri, "task": found.manifest.task.name, "version": found.version})
    else:
        click.echo(f"{found.uri} is intact: {found.manifest.parameters:,} numbers.")


@bundle.command("pull", epilog=closing("bundle pull s3://prompts/baltic/wake-word bundles --with-backbone"))
@click.argument("uri")
@click.argument("directory")
@click.option("--with-backbone", is_flag=True, help="Copy its backbone to DIRECTORY/backbones too.")
@_trusted_option
@JSON
def pull_(uri: str, directory: str, with_backbone: bool, trusted: tuple[str, ...], as_json: bool) -> None:
    """Copy the bundle at URI to DIRECTORY/<task>/<version>, checking every byte.

    The classifier finds a backbone beside its bundles, wherever the directory is moved.
    """
    from workers.bundle.pull import pull

    pulled = pull(_absolute(uri), _absolute(directory), trusted=_keys(trusted))
    backbone = _backbone_beside(pulled.uri, _absolute(directory)) if with_backbone else None
    if as_json:
        said = {"uri": pulled.uri, "version": pulled.version, "created": pulled.created}
        _print_json(said if backbone is None else {**said, "backbone": backbone})
    else:
        click.echo(f"{pulled.uri}{'' if pulled.created else ' was there already, and is intact'}")
        if backbone is not None:
            click.echo(backbone)


def _backbone_beside(bundle: str, directory: str) -> str:
    """Copy the backbone of a bundle beside it, and return its place.

    Raises:
        BundleError: the bundle does not say where its backbone is, or another one is there.
    """
    from infra.errors import BundleError
    from workers.backbone.beside import pull_backbone
    from workers.backbone.description import read_description
    from workers.bundle.read import read

    found = read(bundle)
    place = found.manifest.provenance.backbone_uri
    if not place:
        raise BundleError(f"{bundle}: does not say where its backbone is; copy it with 'speechprompt backbone pull'")
    prints = read_description(place).fingerprints
    found.check_backbone(unit_lm=prints.unit_lm, tokenizer=prints.tokenizer)
    return pull_backbone(place, directory)


bundle.add_command(import_)
bundle.add_command(sign)
bundle.add_command(keygen)


def _keys(paths: tuple[str, ...]) -> list[TrustedKey]:
    from workers.bundle.signing import TrustedKey

    return [TrustedKey.read(_absolute(path)) for path in paths]


def _absolute(path: str) -> str:
    return object_storage.resolve(path, os.getcwd())  # noqa: PTH109  paths are plain strings throughout


def _console() -> PlainConsole:
    # A pipe has no width: there nothing is cut or folded to that of a screen.
    return PlainConsole() if sys.stdout.isatty() else PlainConsole(width=_PIPE_WIDTH)


def _print_json(value: Any) -> None:
    # Escaped, because free text of a bundle must not steer a terminal.
    click.echo(json.dumps(value, indent=2))


def _row_json(row: BundleRow) -> dict[str, Any]:
    manifest = row.manifest.model_dump(mode="json") if row.manifest else {}
    return {
        "uri": row.uri,
        "task": row.task,
        "version": row.version,
        "latest": row.latest,
        "metric": manifest["metric"]["name"] if manifest else None,
        "results": manifest.get("results"),
        "created": manifest["provenance"]["created"] if manifest else None,
        "problem": row.problem,
    }


def _table(rows: list[BundleRow]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("task", overflow="fold")
    table.add_column("version", no_wrap=True)
    table.add_column("latest")
    table.add_column("metric", overflow="fold")
    table.add_column("valid", justify="right")
    table.add_column("test", justify="right")
    table.add_column("created", no_wrap=True)
    for row in rows:
        latest = "yes" if row.latest else ""
        if row.manifest is None:
            table.add_row(row.task, row.version, latest, Text("cannot be read", style="red"))
            continue
        created = row.manifest.provenance.created.strftime("%Y-%m-%d %H:%M")
        figures = (_figure(row.manifest, "valid"), _figure(row.manifest, "test"))
        table.add_row(row.task, row.version, latest, row.manifest.metric.name, *figures, created)
    return table


def _figure(manifest: BundleManifest, split: Split) -> str:
    spread = manifest.results.get(split, {}).get(manifest.metric.name)
    return "-" if spread is None else f"{spread.value:.4f}"


def print_manifest(uri: str, manifest: BundleManifest, console: Console) -> None:
    """All that a bundle says about itself, for people."""
    from task_specs.example import SPLITS
    from workers.bundle.card import seeds_of

    prompt, data, provenance = manifest.prompt, manifest.data, manifest.provenance
    fields = {
        "bundle": uri,
        "task": ", ".join(filter(None, (manifest.task.name, manifest.task.family, manifest.task.language))),
        **{f"labels of {slot.name}": _labels(slot.labels) for slot in manifest.slots},
        "prompt": f"length {prompt.length}, {prompt.layers} layers of {prompt.dim}, "
        f"{manifest.parameters:,} trained numbers",
        "reading": prompt.reading or "separator",
        "verbalizer": prompt.verbalizer,
        "temperature": ", ".join(f"{value:g}" for value in manifest.temperatures) if manifest.calibration else "",
        "positive": manifest.metric.positive or "",
        "recipe": f"{json.dumps(manifest.recipe.get('name'))}, {seeds_of(manifest)}",
        "backbone": manifest.backbone.name,
        "unit LM": manifest.backbone.unit_lm,
        "tokenizer": manifest.backbone.tokenizer,
        "data": ", ".join(f"{data.examples[split]:,} {split}" for split in SPLITS if split in data.examples),
        "quarantined": f"{data.quarantined:,}",
        "too long": f"{data.long:,}" if data.long else "",
        "data digest": data.digest,
        "created": provenance.created.isoformat(),
        "code": provenance.code_version,
        "MLflow run": provenance.run_id,
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if value:
            table.add_row(name, as_text(value))
    console.print(table)
    console.print()
    console.print(_results(manifest))


def _labels(labels: tuple[str, ...]) -> str:
    return first_of(labels, _LABELS_SHOWN)


def _results(manifest: BundleManifest) -> Table:
    from task_specs.example import SPLITS

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("split")
    table.add_column("metric", overflow="fold")
    this = "this prompt" if manifest.prompt.members is None else "together"
    for name in (this, "95 %", "mean", "std", "seeds"):
        table.add_column(name, justify="right")
    for split in SPLITS:
        for metric, spread in sorted(manifest.results.get(split, {}).items()):
            value, mean, std = (f"{number:.4f}" for number in (spread.value, spread.mean, spread.std))
            interval = " to ".join(f"{end:.4f}" for end in spread.interval or ())
            table.add_row(split, metric, value, interval, mean, std, str(spread.seeds))
    return table
