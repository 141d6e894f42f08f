"""View of a plan for people."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from infra.printable import first_of, printable, printable_json
from orchestrator.plan import Plan, PlannedTask
from orchestrator.progress import as_text
from orchestrator.tuning.gang_width import measured_text
from task_specs.example import Split
from task_specs.sweep import Sweep
from workers.tuning.run.probe import Measured, best_width

MIB = 1 << 20
CLASSES_SHOWN = 5


def show_plan(plan: Plan, console: Console, measured: Sequence[Measured] | None) -> None:
    """Print what a job would run: tasks, lanes, gangs, trained parameters, stores.

    Args:
        plan: plan to print.
        console: console to print on.
        measured: measured speeds of gangs; ``None`` if they were not measured.
    """
    job, lm = plan.job, plan.backbone.unit_lm
    count = f"{len(plan.tasks)} task{'s' if len(plan.tasks) != 1 else ''}"
    table = Table(title=as_text(f"job {job.name}: {count}"), title_justify="left")
    table.add_column("task", no_wrap=True)
    for heading in ("family", "lang", "classes"):
        table.add_column(heading)
    for heading in ("train/valid/test", "lanes", "steps", "trained"):
        table.add_column(heading, justify="right")
    for task in plan.tasks:
        spec = task.spec
        table.add_row(
            as_text(spec.name),
            as_text(spec.family),
            as_text(spec.language),
            "x".join(str(len(labels)) for labels in task.dataset.labels),
            "/".join(str(count) for count in _tuned_on(task).values()),
            str(task.lanes),
            f"{spec.recipe.steps:,}",
            _between([shape.size for shape in task.prompt_shapes(plan.backbone)]),
        )
    console.print(table)
    resources = ", ".join(f"{name} {value}" for name, value in job.resources if value is not None) or "by the machine"
    recipes = {
        f"{task.spec.recipe.name}, length {task.spec.recipe.prompt_length}, {task.spec.recipe.reading} reading, "
        f"{task.spec.recipe.verbalizer} verbalizer"
        + (f", balanced by {task.spec.recipe.balance}" if task.spec.recipe.balance != "none" else "")
        for task in plan.tasks
    }
    sweeps = [f"{task.spec.name}: {_sweep(task.spec.sweep)}" for task in plan.tasks if task.spec.sweep is not None]
    few = [_few(task) for task in plan.tasks if task.spec.shots is not None]
    big = [f"{task.spec.workers} for {task.spec.name}" for task in plan.tasks if task.spec.workers > 1]
    for name, value in (
        ("recipe", "; ".join(sorted(recipes))),
        ("backbone", f"{plan.backbone.name}: {lm.kind} {lm.layers} x {lm.dim}, {plan.lm_bytes / MIB:.0f} MiB shared"),
        *(("shots", draw) for draw in few),
        *(("sweep", sweep) for sweep in sweeps),
        ("gangs", gangs_line(plan, measured)),
        *((("workers", ", ".join(big)),) if big else ()),
        ("actors", resources),
        *((("baselines", ", ".join(job.baselines)),) if job.baselines else ()),
        ("bundles", job.bundles),
        ("storage", job.storage),
        ("units", job.units),
    ):
        console.print(printable(f"{name:>9}  {value}"), soft_wrap=True)
    for note in plan.notes:
        console.print(printable(f"     note  {note}"), soft_wrap=True)


def plan_json(plan: Plan, measured: Sequence[Measured] | None) -> str:
    """Return what a job would run as JSON.

    Args:
        plan: plan to describe.
        measured: measured speeds of gangs; ``None`` if they were not measured.
    """
    job, lm = plan.job, plan.backbone.unit_lm
    tasks = [
        {
            "task": task.spec.name,
            "family": task.spec.family,
            "language": task.spec.language,
            "classes": [len(labels) for labels in task.dataset.labels],
            "examples": _tuned_on(task),
            "lanes": task.lanes,
            "steps": task.spec.recipe.steps,
            "trained": sorted({shape.size for shape in task.prompt_shapes(plan.backbone)}),
            "recipe": task.spec.recipe.identity(),
            "publish": task.spec.publish,
        }
        for task in plan.tasks
    ]
    width = job.gang if job.gang != "auto" else None if measured is None else best_width(measured)
    content = {
        "job": job.name,
        "backbone": {"name": plan.backbone.name, "kind": lm.kind, "layers": lm.layers, "dim": lm.dim},
        "tasks": tasks,
        "lanes_per_pass": width,
        "baselines": list(job.baselines),
        "bundles": job.bundles,
        "storage": job.storage,
        "units": job.units,
        "notes": plan.notes,
    }
    return printable_json(json.dumps(content, indent=2, ensure_ascii=False))


def _tuned_on(task: PlannedTask) -> dict[Split, int]:
    """Return the number of examples of each split that a lane uses."""
    counts = task.dataset.counts
    if task.spec.shots is None:
        return counts
    return {**counts, "train": sum(task.dataset.shots(task.spec.shots).values())}


def _few(task: PlannedTask) -> str:
    shots = task.spec.shots
    assert shots is not None  # noqa: S101
    drawn = task.dataset.shots(shots)
    short = [labels for labels, count in drawn.items() if count < shots]
    train = task.dataset.counts["train"]
    text = f"{task.spec.name}: {shots} of each of {len(drawn)} classes, drawn by seed from {train:,}"
    named = first_of([" ".join(labels) for labels in short], CLASSES_SHOWN)
    return text + (f"; {named} with all they have, which are fewer" if short else "")


def gangs_line(plan: Plan, measured: Sequence[Measured] | None) -> str:
    """Return how many lanes share a forward pass, and what was measured."""
    lanes = sum(task.lanes for task in plan.tasks)
    if plan.job.gang != "auto":
        return f"{lanes} lanes, at most {plan.job.gang} per forward pass"
    if measured is None:
        return f"{lanes} lanes; how many share a forward pass is measured when the job starts"
    return f"{lanes} lanes, at most {best_width(measured)} per forward pass ({measured_text(measured)}, measured)"


def _between(sizes: Sequence[int]) -> str:
    least, most = min(sizes), max(sizes)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _sweep(sweep: Sweep) -> str:
    grid = " x ".join(f"{len(values)} {name}" for name, values in sweep.grid.items())
    halving = sweep.halving
    return grid if halving is None else f"{grid}; {halving.rungs} times, 1 of {halving.eta} goes on"
