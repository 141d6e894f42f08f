"""The command line. Results go to stdout, progress and errors to stderr.

Exit codes: 0 done; 1 some tasks or recordings failed; 2 bad input; 3 job interrupted; 4 job taken over by another
submission; 5 Ray or its workers failed; 70 internal error; 141 the reader of the output is gone. A command without
resumable work ends with 129 (terminal closed), 130 (Ctrl-C) or 143 (SIGTERM).
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from infra import object_storage
from infra.errors import InvalidInputs, MissingExtra, RayFailed, SpeechPromptError
from infra.json_log import log_as_json
from orchestrator import __version__
from orchestrator.ending import BreakableGroup, keep_traceback, limit_reached
from orchestrator.exit_codes import BAD_INPUT, FAULT, RAY_FAILED
from orchestrator.progress import say

GROUPS = {
    "First steps": {
        "demo": "Run every step on this machine in minutes, with synthesized speech and no server.",
        "doctor": "Check this machine, and the backbone, stores and servers that a job names.",
    },
    "Jobs": {
        "plan": "Check everything a job names, list all errors at once, and show what would run.",
        "run": "Run a job here, or on the Ray cluster that RAY_ADDRESS names.",
        "submit": "Run a job on a cluster through Ray Jobs.",
        "status": "Show what a job is doing: what runs, where, since when, its last metric and checkpoint.",
        "results": "Show the results of a job's last run: prompts, baselines, published results.",
    },
    "Data": {
        "tasks": "List the tasks that come ready to run, and check downloads of their data.",
        "tokenize": "Tokenize the recordings of all tasks of a job into its unit cache, and nothing else.",
    },
    "Backbones": {
        "backbone": "Pretrain, import and inspect backbones: a tokenizer and a frozen unit LM.",
    },
    "Bundles": {
        "bundle": "List, inspect, verify, fetch, sign and import prompt bundles.",
        "classify": "Label recordings with published prompts.",
    },
}
"""Help of each command, in the order of use; command ``x`` is ``orchestrator.commands.x.x``."""
COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}

OF_TRAINING = (
    "jinja2", "matplotlib", "mlflow", "pandas", "pyarrow", "ray", "scipy", "sklearn", "threadpoolctl",
)  # fmt: skip
"""Packages of the extra ``train``, which an installation for classifying alone does not have."""

PATIENT = ("backbone", "demo", "run", "tokenize")
"""Commands that wait for a store that is down; the others report it at once."""


class CommandTable(BreakableGroup):
    """Command group that imports a command when it is called, so that ``--help`` starts without Ray."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: Any = getattr(import_module(f"orchestrator.commands.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        width = max(map(len, COMMANDS))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="SPEECHPROMPT_LOG_FORMAT",
    help="Format of progress and errors on stderr; json writes one object per line.",
)
@click.pass_context
def cli(context: click.Context, log_format: str) -> None:
    """Tune prompts of one frozen spoken language model for many speech classification tasks at once."""
    if log_format == "json":
        log_as_json()
    if context.invoked_subcommand not in PATIENT:
        context.with_resource(object_storage.impatient())


def main() -> None:
    """Run the command line; a user's error becomes one sentence and an exit code, without a traceback."""
    try:
        cli()
    except InvalidInputs as error:
        for problem in error.problems:
            say(str(problem))
        count = len(error.problems)
        say(f"{count} problem{'s' if count > 1 else ''}; nothing was started", style="red")
        sys.exit(BAD_INPUT)
    except SpeechPromptError as error:
        say(f"error: {error}", style="red")
        sys.exit(RAY_FAILED if isinstance(error, RayFailed) else BAD_INPUT)
    # An internal error, whose exit code must differ from that of failed tasks.
    except Exception as error:  # noqa: BLE001
        if known := _missing_extra(error) or limit_reached(error):
            say(f"error: {known}", style="red")
            sys.exit(BAD_INPUT)
        kept = keep_traceback(error)
        say(
            f"error: internal error of speechprompt {__version__} ({type(error).__name__}: {_first_line(error)}); "
            f"please report it, {kept}",
            style="red",
        )
        sys.exit(FAULT)


def _missing_extra(error: Exception) -> str:
    """Return what to install if a package of the extra ``train`` is missing; empty for any other error."""
    package = str(error.name).partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return str(MissingExtra(package, "train")) if package in OF_TRAINING else ""


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
