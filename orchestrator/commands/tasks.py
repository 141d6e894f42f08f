"""``speechprompt tasks``: list the packaged tasks, and check that a download of one is complete."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from infra import object_storage
from infra.errors import InvalidInputs, TaskSpecError
from infra.printable import printable, printable_json
from orchestrator.commands.options import JSON, closing
from orchestrator.exit_codes import TASKS_FAILED
from orchestrator.progress import as_text, results_console
from task_specs.packaged import packaged_spec, packaged_specs

if TYPE_CHECKING:
    from task_specs.dataset import Dataset
    from task_specs.example import Split
    from task_specs.readers.corpus import Corpus, Counts
    from task_specs.schema import TaskSpec

SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@click.group(invoke_without_command=True, epilog=closing("tasks", "tasks --json"))
@JSON
@click.pass_context
def tasks(context: click.Context, as_json: bool) -> None:
    """List the tasks that come ready to run, and check downloads of their data.

    In a job, name one as task_specs/NAME.yaml, with its data in $DATA_ROOT/NAME. A spec of your own may name any root:
    data: {reader: NAME, root: DIR}.
    """
    if context.invoked_subcommand is not None:
        return
    rows = [_row(path) for path in packaged_specs()]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    table = Table()
    for heading in ("task", "family", "language", "classes", "metric", "licence", "get it from"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "task")
    for row in rows:
        table.add_row(*(as_text(str(value)) for value in row.values()))
    results_console().print(table)


@tasks.command(
    epilog=closing("tasks check esc50 --root /data/ESC-50", codes={TASKS_FAILED: "the counts differ"}),
)
@click.argument("name")
@click.option("--root", required=True, metavar="DIR", help="Directory of the data set, local or s3://.")
@click.option("--split", help="Split of the data set to use instead of the default, such as paper.")
@click.option("--duplicates", type=click.Choice(["keep", "drop"]), help="Whether to keep or drop copies of recordings.")
@JSON
def check(name: str, root: str, split: str | None, duplicates: str | None, as_json: bool) -> None:
    """Read the data of task NAME, list what is missing or wrong, and compare its counts with the published ones."""
    from task_specs.dataset import read_dataset

    settings = {"split": split, "duplicates": duplicates}
    spec, reader = _load(name, root, {key: value for key, value in settings.items() if value is not None})
    dataset = read_dataset(spec)
    found, expected = counts(dataset), reader.expected
    differing = differences(found, expected)
    if as_json:
        content = {
            "task": spec.name,
            "found": found,
            "expected": expected,
            "notes": dataset.notes,
            "fits": not differing,
        }
        click.echo(printable_json(json.dumps(content, ensure_ascii=False, indent=2)))
    else:
        results_console().print(_counts_table(spec, dataset, expected))
        for note in dataset.notes:
            click.echo(printable(f"note: {note}"))
        for difference in differing:
            click.echo(printable(difference))
        if not differing:
            click.echo("counts are as published" if expected else "no problem found; no counts are published")
    if differing:
        sys.exit(TASKS_FAILED)


def counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Count the examples of each split and class; labels of several slots are joined with `` + ``."""
    found: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        labels = Counter(" + ".join(example.labels) for example in dataset.split(split))
        found[split] = dict(sorted(labels.items()))
    return found


def differences(found: dict[str, dict[str, int]], expected: Counts) -> list[str]:
    """Return sentences about counts that differ from the published ones."""
    said = []
    for where, published in expected.items():
        splits = [split for split in found if where in ("all", split)]
        have: Counter[str] = Counter()
        for split in splits:
            have.update(found[split])
        if isinstance(published, int):
            pairs = [(str(where), have.total(), published)]
        else:
            pairs = [(f"{where}, {label}", have[label], count) for label, count in published.items()]
        said += [f"{place}: {is_} instead of {should}" for place, is_, should in pairs if is_ != should]
    return said


def _row(path: str) -> dict[str, Any]:
    # The root of a packaged spec uses a variable, which need not be set here.
    spec, reader = _load(Path(path).stem, "/", {})
    return {
        "task": Path(path).stem,
        "family": spec.family,
        "language": spec.language,
        "classes": "x".join(map(str, reader.classes)),
        "metric": spec.metric,
        "licence": spec.licence,
        "origin": reader.origin,
    }


def _load(name: str, root: str, settings: dict[str, str]) -> tuple[TaskSpec, Corpus]:
    from task_specs.field_types import literal
    from task_specs.readers.corpus import Corpus
    from task_specs.schema import load_task_spec
    from task_specs.validation import suggestion

    path = packaged_spec(name)
    if path is None:
        names = [Path(known).stem for known in packaged_specs()]
        raise TaskSpecError(f"there is no task {name!r} in this package; {suggestion(name, names)}")
    absolute = object_storage.resolve(root, str(Path.cwd()))
    spec, problems = load_task_spec(path, data={"root": literal(absolute), **settings})
    if spec is None or not isinstance(spec.data, Corpus):
        raise InvalidInputs(problems)
    return spec, spec.data


def _counts_table(spec: TaskSpec, dataset: Dataset, expected: Counts) -> Table:
    found = counts(dataset)
    table = Table(title=as_text(f"{spec.name}: {' + '.join(spec.slots)}"), title_justify="left")
    table.add_column("class")
    for split in SPLITS:
        table.add_column(split, justify="right")
    published: dict[Split, Any] = {split: expected.get(split) for split in SPLITS}
    for label in sorted({label for labels in found.values() for label in labels}):
        cells = [_beside(found[split].get(label, 0), _of_class(published[split], label)) for split in SPLITS]
        table.add_row(as_text(label), *cells)
    totals = {split: sum(labels.values()) for split, labels in found.items()}
    table.add_section()
    table.add_row("all", *(_beside(totals[split], _total(published[split])) for split in SPLITS))
    return table


def _of_class(published: Any, label: str) -> int | None:
    return None if published is None or isinstance(published, int) else int(published.get(label, 0))


def _total(published: Any) -> int | None:
    return published if published is None or isinstance(published, int) else sum(published.values())


def _beside(count: int, published: int | None) -> str:
    return str(count) if published is None else f"{count} of {published}"
