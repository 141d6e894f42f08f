"""``speechprompt results``: the results of a job, for people, spreadsheets and programs."""

from __future__ import annotations

import click

from orchestrator.commands.options import JOB_FILE, JSON_HELP, OVERRIDES, closing


@click.command(epilog=closing("results job.yaml", "results job.yaml --format html > results.html"))
@JOB_FILE
@OVERRIDES
@click.option(
    "--format",
    "shape",
    type=click.Choice(["text", "csv", "markdown", "json", "html"]),
    default="text",
    show_default=True,
    help="html: one page with confusion matrices that opens offline.",
)
@click.option("--json", "shape", flag_value="json", help=JSON_HELP)
def results(job_file: str, overrides: tuple[str, ...], shape: str) -> None:
    """Show the results of a job's last run: prompts (mean and spread over seeds), baselines, published results."""
    from orchestrator.job import load_job
    from orchestrator.progress import results_console
    from orchestrator.report import read_report, report_json
    from orchestrator.views.results_page.page import results_page
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
            click.echo(results_page(job, report), nl=False)
