"""``speechprompt demo``: the whole story on one machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.cluster.interruption import interruptible
from orchestrator.demo.story import tell_story
from orchestrator.exit_codes import TASKS_FAILED


@click.command()
@click.argument("directory", default="demo", type=click.Path(path_type=Path))
@click.option("--scale", default=1.0, show_default=True, help="Size of the corpus; less is faster and worse.")
def demo(directory: Path, scale: float) -> None:
    """The whole story on this machine, with synthesized speech and no server, in minutes."""
    with interruptible(again="run the demo again and it goes on") as interruption:
        published = tell_story(directory, scale=scale, interruption=interruption)
    if not published:
        sys.exit(TASKS_FAILED)
