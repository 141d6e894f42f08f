"""The command line. Results go to stdout, progress and errors to stderr.

Exit codes: 0 done, 1 some tasks or recordings failed, 2 bad input, 3 interrupted, 4 taken over, 5 Ray or its workers
failed; 129, 130 and 143 broken off by a closed terminal, Ctrl-C and SIGTERM where nothing goes on, 141 the reader of
the output has gone, 70 a fault of this program.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from infra import object_storage
from infra.errors import InvalidInputs, RayFailed, SpeechPromptError
from infra.json_log import log_as_json
from orchestrator import __version__
from orchestrator.ending import BreakableGroup, keep_traceback, limit_reached
from orchestrator.exit_codes import BAD_INPUT, FAULT, RAY_FAILED
from orchestrator.progress import say

COMMANDS = {
    "backbone": "Make and look at backbones: a tokenizer and a frozen unit LM.",
    "bundle": "List, inspect, verify, fetch and import prompt bundles.",
    "classify": "Label recordings with published prompts.",
    "demo": "The whole story on this machine, with synthesized speech and no server, in minutes.",
    "doctor": "Look at this machine, and at the backbone, stores and servers that a job names.",
    "plan": "Check everything a job names, list all errors at once, and show what would run.",
    "results": "The results of a job's last run: prompts, baselines, published figures.",
    "run": "Run a job here, or on the Ray cluster that RAY_ADDRESS names.",
    "status": "What a job is doing: what runs, where, since when, its last metric and checkpoint.",
    "submit": "Run a job on a cluster through Ray Jobs.",
    "tasks": "List the tasks that come ready to run, and check downloads of their data.",
    "tokenize": "Tokenize the audio of all tasks of a job into its unit cache, and nothing else.",
}
"""Each is the command of its own name in the module of that name in ``orchestrator.commands``."""

PATIENT = ("backbone", "demo", "run", "tokenize")
"""Commands that wait for a store that is down; whoever types one of the others is told at once."""


class CommandTable(BreakableGroup):
    """Imports a command when it is called: help, and what needs no Ray, start without it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: Any = getattr(import_module(f"orchestrator.commands.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="SPEECHPROMPT_LOG_FORMAT",
    help="How progress and errors are written to stderr: json is an object a line.",
)
@click.pass_context
def cli(context: click.Context, log_format: str) -> None:
    """Tune prompts of one frozen spoken language model for many speech classification tasks at once."""
    if log_format == "json":
        log_as_json()
    if context.invoked_subcommand not in PATIENT:
        context.with_resource(object_storage.impatient())


def main() -> None:
    """Entry point: errors of the user's become sentences and exit codes, without a traceback."""
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
    # Whatever comes here is a fault of ours, which is to be told from some tasks that failed.
    except Exception as error:  # noqa: BLE001
        if limit := limit_reached(error):
            say(f"error: {limit}", style="red")
            sys.exit(BAD_INPUT)
        kept = keep_traceback(error)
        say(
            f"error: a fault of speechprompt {__version__} ({type(error).__name__}: {_first_line(error)}), not of its "
            f"input; please report it, {kept}",
            style="red",
        )
        sys.exit(FAULT)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
