"""``speechprompt bundle keygen`` and ``sign``: say who published a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from infra import object_storage
from orchestrator.commands.options import closing

__all__ = ["keygen", "sign"]


@click.command(epilog=closing("bundle keygen team.pem"))
@click.argument("key", type=click.Path(path_type=Path, dir_okay=False), metavar="KEY.pem")
def keygen(key: Path) -> None:
    """Make a key pair: KEY.pem to sign with, to be kept secret, and KEY.pub for those who verify."""
    from workers.bundle.signing import new_key_pair

    made = new_key_pair(key)
    click.echo(f"{key} signs, {key.with_suffix('.pub')} verifies; key {made.id}")


@click.command(epilog=closing("bundle sign s3://prompts/baltic/wake-word --key team.pem"))
@click.argument("uri")
@click.option("--key", required=True, metavar="KEY.pem", help="The private key.")
def sign(uri: str, key: str) -> None:
    """Verify the bundle at URI and put a signature of its bundle.json beside it."""
    from workers.bundle.read import verify
    from workers.bundle.signing import SigningKey

    here = str(Path.cwd())
    signing = SigningKey.read(object_storage.resolve(key, here))
    found = verify(object_storage.resolve(uri, here))
    file = signing.sign(found.uri, found.document)
    click.echo(f"{found.manifest.task.name} {found.version} is signed by key {signing.trusted.id[:16]}: {file}")
