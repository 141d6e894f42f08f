"""``speechprompt demo``: run every step on one machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.commands.options import OF_A_JOB, closing
from orchestrator.exit_codes import TASKS_FAILED


@click.command(epilog=closing("demo", "demo /scratch/demo --scale 0.5", codes=OF_A_JOB))
@click.argument("directory", default="demo", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--scale", default=1.0, show_default=True, help="Size of the corpus; smaller is faster, and less accurate."
)
def demo(directory: Path, scale: float) -> None:
    """Run every step on this machine in minutes, with synthesized speech and no server."""
    from orchestrator.cluster.interruption import interruptible
    from orchestrator.demo.story import tell_story

    with interruptible(again="run the demo again and it goes on") as interruption:
        published = tell_story(directory, scale=scale, interruption=interruption)
    if not published:
        sys.exit(TASKS_FAILED)
