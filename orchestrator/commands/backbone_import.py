"""``speechprompt backbone import``: convert original files to a backbone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from infra import object_storage
from infra.printable import printable
from orchestrator.commands.options import closing
from orchestrator.progress import results_console

if TYPE_CHECKING:
    from workers.interop.backbone import ImportedBackbone


@click.command(
    "import",
    epilog=closing(
        "backbone import --out models/gslm --lm checkpoint_best.pt --dict dict.txt --hubert hubert_base_ls960.pt "
        "--kmeans km.bin"
    ),
)
@click.option("--out", required=True, metavar="URI", help="Directory of the new backbone, local or s3://.")
@click.option("--lm", required=True, metavar="FILE", help="Checkpoint of the unit LM, GSLM or pGSLM.")
@click.option("--dict", "dictionary", metavar="FILE", help="GSLM's dict.txt.")
@click.option("--hubert", metavar="FILE", help="Speech encoder: hubert_base_ls960.pt, or torchaudio's version of it.")
@click.option("--kmeans", metavar="FILE", help="k-means centroids: km.bin, .npy or .safetensors.")
@click.option("--layer", type=int, help="Layer of the encoder whose features are clustered; default: 6.")
@click.option("--tokenizer-name", metavar="NAME", help="Without --hubert: name of the tokenizer of your units.")
@click.option("--f0-bins", metavar="FILE", help="Discrete pGSLM: mean_norm_log_f0_seg_bin.th, or bin edges as .npy.")
@click.option(
    "--f0-mean",
    type=click.Choice(["speaker", "utterance"]),
    help="pGSLM: mean log F0 to subtract; default: the speaker's, if known.",
)
@click.option("--heads", type=click.IntRange(1, 1024), help="Attention heads, if the checkpoint does not give them.")
@click.option("--name", default="", help="Name of the backbone; default: its kind and tokenizer.")
@click.option("--licence", default="", help="Licence of the weights, stored with them.")
@click.option("--verify", is_flag=True, help="Compare with fairseq's own forward pass (extra: fairseq).")
def import_(
    out: str,
    lm: str,
    dictionary: str | None,
    hubert: str | None,
    kmeans: str | None,
    layer: int | None,
    tokenizer_name: str | None,
    f0_bins: str | None,
    f0_mean: Literal["speaker", "utterance"] | None,
    heads: int | None,
    name: str,
    licence: str,
    verify: bool,
) -> None:
    """Convert original fairseq and k-means files to a backbone, once.

    The files are not trusted: one that would run code when it is read is refused, and the error names that code. Files
    may be local or s3://.
    """
    from orchestrator.views.backbone import backbone_table
    from workers.backbone.directory import write_backbone
    from workers.fairseq.installed import check_installed
    from workers.fairseq.original_files import OriginalFiles
    from workers.interop.backbone import import_backbone

    if verify:
        check_installed()

    def place(path: str | None) -> str | None:
        return path and object_storage.resolve(path, str(Path.cwd()))

    files = OriginalFiles(
        lm=object_storage.resolve(lm, str(Path.cwd())),
        dictionary=place(dictionary),
        hubert=place(hubert),
        kmeans=place(kmeans),
        layer=layer,
        f0_bins=place(f0_bins),
        f0_mean=f0_mean,
        heads=heads,
        tokenizer_name=tokenizer_name,
    )
    imported = import_backbone(files, name=name, licence=licence)
    differences = _differences(imported) if verify else {}
    uri = object_storage.resolve(out, str(Path.cwd()))
    write_backbone(imported.backbone, uri)
    results_console().print(backbone_table(imported.backbone))
    for note in imported.notes:
        click.echo(printable(f"note: {note}"))
    for what, difference in differences.items():
        click.echo(f"largest difference from fairseq in {what}: {difference:.1e}")
    click.echo(uri)


def _differences(imported: ImportedBackbone) -> dict[str, float]:
    """Return the largest difference from fairseq by what was compared, checked to be rounding only."""
    from workers.interop.verify import check_difference, features_difference, logits_difference

    found = {"logits": logits_difference(imported.checkpoint, imported.lm)}
    if imported.hubert:
        found["features"] = features_difference(imported.hubert.checkpoint, imported.hubert.tokenizer)
    for what, difference in found.items():
        check_difference(difference, what)
    return found
