"""``python -m infra.local_cluster up | down | status``: Ray, S3 and MLflow on this machine's loopback."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from infra.errors import SpeechPromptError
from infra.local_cluster import cluster

# Not below the working directory: `ray job submit --working-dir .` would ship the credentials in it.
DEFAULT_DIRECTORY = Path("~/.speechprompt/local_cluster")

directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DIRECTORY,
    show_default=True,
    help="Directory for data, logs and credentials of the cluster.",
)


@click.group(help=__doc__)
def main() -> None:
    """Run the command."""


@main.command()
@directory_option
@click.option("--cpus", type=click.IntRange(min=1), help="Logical CPUs of the Ray head; default: all.")
def up(directory: Path, cpus: int | None) -> None:
    """Start all services and print the variables to export: eval "$(python -m infra.local_cluster up)"."""
    started = cluster.up(_place(directory), cpus=cpus, say=lambda line: click.echo(line, err=True))
    click.echo(started.exports(), nl=False)
    for service in started.services:
        click.echo(f"{service.name}: {service.url}", err=True)
    click.echo(f"bucket: s3://{cluster.BUCKET}", err=True)
    click.echo(f"in another shell: source {started.directory / 'env.sh'}", err=True)


@main.command()
@directory_option
def down(directory: Path) -> None:
    """Stop the services that up started, and nothing else; data is kept."""
    cluster.Cluster.load(_place(directory)).down()


@main.command()
@directory_option
def status(directory: Path) -> None:
    """Show which services run; exit code 1 unless all do."""
    services = cluster.Cluster.load(_place(directory)).services
    for service in services:
        click.echo(f"{service.name}\t{'running' if service.alive() else 'ended'}\t{service.pid}\t{service.url}")
    if not services or not all(service.alive() for service in services):
        sys.exit(1)


def _place(directory: Path) -> Path:
    try:
        return directory.expanduser().absolute()
    except RuntimeError as error:
        raise SpeechPromptError(f"{directory}: this user has no home directory; name a --directory") from error


if __name__ == "__main__":
    # As after Ctrl-C, so that a half-started cluster is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        main(prog_name="python -m infra.local_cluster")
    except SpeechPromptError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
