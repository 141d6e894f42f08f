"""The command line. Results go to stdout, progress and errors to stderr.

Exit codes: 0 done, 1 some tasks or recordings failed, 2 bad input, 3 interrupted, 4 taken over, 5 Ray or its workers
failed; 129, 130 and 143 broken off by a closed terminal, Ctrl-C and SIGTERM where nothing goes on, 141 the reader of
the output has gone, 70 a fault of this program.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from infra import object_storage
from infra.errors import InvalidInputs, RayFailed, SpeechPromptError
from infra.json_log import log_as_json, logs_as_json
from infra.printable import printable
from infra.redaction import redacted
from orchestrator import __version__
from orchestrator.cluster.interruption import GRACE_SECONDS, interruptible
from orchestrator.commands.backbone import backbone
from orchestrator.commands.bundle import bundle
from orchestrator.commands.tasks import tasks
from orchestrator.ending import BreakableGroup, keep_traceback, limit_reached
from orchestrator.exit_codes import BAD_INPUT, FAULT, RAY_FAILED, RECORDINGS_FAILED, TASKS_FAILED
from orchestrator.progress import errors_console, results_console

PATIENT = ("backbone", "demo", "run", "tokenize")
"""Commands that wait for a store that is down; whoever types one of the others is told at once."""

JOB_FILE = click.argument("job_file", metavar="JOB.yaml")
OVERRIDES = click.option(
    "--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Set a field of the file, such as tracking=URI."
)

GRACE = click.option(
    "--grace",
    type=click.FloatRange(min=0, min_open=True),
    default=GRACE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="On SIGTERM, Ctrl-C or a closed terminal, end within this time; what runs is saved first. A second signal "
    "ends at once.",
)

RESTART = click.option(
    "--restart", is_flag=True, help="Begin anew: tune every lane again, from its first step. Published bundles stay."
)


@click.group(cls=BreakableGroup, context_settings={"help_option_names": ["-h", "--help"]})
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


@cli.command()
@JOB_FILE
@OVERRIDES
@click.option("--no-probe", is_flag=True, help="Do not measure how many lanes should share a pass.")
def plan(job_file: str, overrides: tuple[str, ...], no_probe: bool) -> None:
    """Check everything a job names, list all errors at once, and show what would run. Starts nothing.

    With gang: auto it takes some optimizer steps in this process, for at most ten seconds.
    """
    from orchestrator.planning import make_plan
    from orchestrator.views.plan import show_plan

    planned = make_plan(job_file, overrides)
    measured = None
    if planned.job.gang == "auto" and not no_probe:
        from orchestrator.tuning.gang_width import measure_here

        measured = measure_here(planned)
    show_plan(planned, results_console(), measured)


@cli.command()
@JOB_FILE
@OVERRIDES
@click.option("--retry-failed", is_flag=True, help="Take up again what failed in an earlier run.")
@RESTART
@GRACE
def run(job_file: str, overrides: tuple[str, ...], retry_failed: bool, restart: bool, grace: float) -> None:
    """Run a job here, or on the Ray cluster that RAY_ADDRESS names.

    Submitting a job again resumes it where it stopped: published tasks are verified and kept, unfinished ones
    continue, failed ones stay as they are.

    The exit code is 0 when every task is published, 1 when some failed, 2 for bad input, 3 when the job was
    interrupted, 4 when another submission has taken it over, 5 when Ray did not start, when it ended, or when tasks
    failed only because their workers died, and 70 for a fault of this program.
    """
    _check_once(retry_failed, restart)
    from orchestrator.cluster.session import ray_session
    from orchestrator.planning import make_plan
    from orchestrator.progress import ProgressView
    from orchestrator.views.tables import results_text

    with interruptible(grace) as interruption:
        planned = make_plan(job_file, overrides)
        with ProgressView() as view, ray_session():
            from orchestrator.driver import JobRun

            interruption.listen()
            for note in planned.notes:
                view.line(f"note: {note}")
            job_run = JobRun(planned, retry_failed=retry_failed, restart=restart, view=view, interruption=interruption)
            report = job_run.run()
    results_console().print(results_text(report))
    if not report.complete:
        failed = {row.task for row in report.tasks if row.status != "published"}
        sys.exit(RAY_FAILED if failed <= job_run.lost else TASKS_FAILED)


@cli.command()
@JOB_FILE
@OVERRIDES
@click.option("--address", help="Address of the Ray dashboard; default: RAY_API_SERVER_ADDRESS or RAY_ADDRESS.")
@click.option("--retry-failed", is_flag=True, help="Take up again what failed in an earlier run.")
@click.option(
    "--env", "environment", multiple=True, metavar="NAME=VALUE", help="A variable that paths name; no secrets."
)
@RESTART
@GRACE
@click.option("--no-wait", is_flag=True, help="Return as soon as the job is submitted.")
def submit(
    job_file: str,
    overrides: tuple[str, ...],
    address: str | None,
    retry_failed: bool,
    environment: tuple[str, ...],
    restart: bool,
    grace: float,
    no_wait: bool,
) -> None:
    """Run a job on a cluster through Ray Jobs; its exit code is passed through."""
    from orchestrator.cluster.ray_jobs import submit_job

    _check_once(retry_failed, restart)
    sys.exit(
        submit_job(
            job_file,
            overrides,
            address=address,
            retry_failed=retry_failed,
            restart=restart,
            grace=grace,
            environment=environment,
            wait=not no_wait,
        )
    )


@cli.command()
@JOB_FILE
@OVERRIDES
@click.option(
    "--format",
    "shape",
    type=click.Choice(["text", "csv", "markdown", "json", "html"]),
    default="text",
    show_default=True,
    help="html is one page that opens offline, with confusion matrices.",
)
@click.option("--json", "shape", flag_value="json", help="The same as --format json.")
def results(job_file: str, overrides: tuple[str, ...], shape: str) -> None:
    """The results of a job's last run: prompts (mean and spread over seeds), baselines, published figures."""
    from orchestrator.job import load_job
    from orchestrator.report import read_report, report_json
    from orchestrator.views.tables import as_csv, as_markdown, results_text

    job = load_job(job_file, overrides)
    report = read_report(job)
    match shape:
        case "text":
            results_console().print(results_text(report))
        case "csv":
            click.echo(as_csv(report), nl=False)
        case "markdown":
            click.echo(as_markdown(report), nl=False)
        case "json":
            click.echo(report_json(report))
        case "html":
            from orchestrator.views.results_page.page import results_page

            click.echo(results_page(job, report), nl=False)


@cli.command()
@JOB_FILE
@OVERRIDES
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.option("--watch", is_flag=True, help="Show it until the job has ended.")
def status(job_file: str, overrides: tuple[str, ...], as_json: bool, watch: bool) -> None:
    """What a job is doing: what runs, where, since when, its last metric and checkpoint. Needs no Ray."""
    from orchestrator.commands.status import status as show

    show(job_file, overrides, as_json=as_json, watch=watch)


@cli.command()
@JOB_FILE
@OVERRIDES
def tokenize(job_file: str, overrides: tuple[str, ...]) -> None:
    """Tokenize the audio of all tasks of a job into its unit cache, and nothing else."""
    from orchestrator.cluster.session import ray_session
    from orchestrator.planning import make_plan
    from orchestrator.progress import ProgressView

    with interruptible(again="tokenize again and it goes on") as interruption:
        planned = make_plan(job_file, overrides)
        with ProgressView() as view, ray_session():
            from orchestrator.recordings.examples import tokenize_tasks

            interruption.listen()
            report = tokenize_tasks(planned, view)
    report.check([*report.units, *report.quarantined])
    click.echo(
        f"{len(report.units)} clips have units in {planned.job.units}: {report.computed} computed, "
        f"{report.cached} from the cache; {len(report.quarantined)} quarantined"
    )


@cli.command()
@click.option("--bundle", "bundles", multiple=True, required=True, metavar="URI", help="A bundle, or a task's folder.")
@click.option("--backbone", metavar="URI", help="Its backbone; default: where the bundle was made.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Labels to show per slot, most probable first.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON line per recording.")
@click.option(
    "--one-speaker", is_flag=True, help="All recordings are of one speaker, whose mean pitch a pgslm then goes by."
)
@click.option(
    "--abstain-below",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="PROBABILITY",
    help="Give no answer where the first label is less probable.",
)
@click.option("--trusted", multiple=True, metavar="KEY.pub", help="Refuse bundles that no such key has signed.")
@click.argument("audio", nargs=-1, required=True)
def classify(
    bundles: tuple[str, ...],
    backbone: str | None,
    top: int,
    as_json: bool,
    one_speaker: bool,
    abstain_below: float,
    trusted: tuple[str, ...],
    audio: tuple[str, ...],
) -> None:
    """Label recordings with published prompts. Needs neither Ray nor MLflow.

    One that cannot be read does not keep the others from their labels: the exit code is then 1, and 2 where no other
    has any.
    """
    from orchestrator.commands.classify import classify_files

    answered, errors = classify_files(
        bundles,
        audio,
        backbone=backbone,
        top=top,
        as_json=as_json,
        one_speaker=one_speaker,
        abstain_below=abstain_below,
        trusted=trusted,
    )
    for error in errors:
        _say(error)
    if errors:
        sys.exit(RECORDINGS_FAILED if answered else BAD_INPUT)


@cli.command()
@click.argument("job_file", metavar="[JOB.yaml]", required=False)
@OVERRIDES
@click.option("--json", "as_json", is_flag=True, help="Print the findings for programs.")
def doctor(job_file: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Look at this machine, and at the backbone, stores and servers that a job names; 1 if something is bad.

    In S3 it writes one small object, to see whether the store obeys conditions.
    """
    from orchestrator.commands.doctor import doctor as look

    sys.exit(look(job_file, overrides, as_json=as_json))


@cli.command()
@click.argument("directory", default="demo", type=click.Path(path_type=Path))
@click.option("--scale", default=1.0, show_default=True, help="Size of the corpus; less is faster and worse.")
def demo(directory: Path, scale: float) -> None:
    """The whole story on this machine, with synthesized speech and no server, in minutes."""
    from orchestrator.demo.story import tell_story

    with interruptible(again="run the demo again and it goes on") as interruption:
        published = tell_story(directory, scale=scale, interruption=interruption)
    if not published:
        sys.exit(TASKS_FAILED)


def _check_once(retry_failed: bool, restart: bool) -> None:
    if retry_failed and restart:
        raise click.UsageError("--restart tunes failed lanes again too; leave out --retry-failed")


cli.add_command(backbone)
cli.add_command(bundle)
cli.add_command(tasks)


def main() -> None:
    """Entry point: errors of the user's become sentences and exit codes, without a traceback."""
    try:
        cli()
    except InvalidInputs as error:
        for problem in error.problems:
            _say(str(problem))
        count = len(error.problems)
        _say(f"{count} problem{'s' if count > 1 else ''}; nothing was started", style="red")
        sys.exit(BAD_INPUT)
    except SpeechPromptError as error:
        _say(f"error: {error}", style="red")
        sys.exit(RAY_FAILED if isinstance(error, RayFailed) else BAD_INPUT)
    # Whatever comes here is a fault of ours, which is to be told from some tasks that failed.
    except Exception as error:  # noqa: BLE001
        if limit := limit_reached(error):
            _say(f"error: {limit}", style="red")
            sys.exit(BAD_INPUT)
        kept = keep_traceback(error)
        _say(
            f"error: a fault of speechprompt {__version__} ({type(error).__name__}: {_first_line(error)}), not of its "
            f"input; please report it, {kept}",
            style="red",
        )
        sys.exit(FAULT)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _say(text: str, style: str = "") -> None:
    text = redacted(text)
    if logs_as_json():
        logging.getLogger("speechprompt.cli").error("%s", text)
    else:
        errors_console().print(printable(text), style=style)
