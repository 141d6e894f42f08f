"""A plan as people see it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.gangs import AUTOMATIC_LANES
from orchestrator.plan import Plan
from task_specs.example import SPLITS

MIB = 1 << 20


def show_plan(plan: Plan, console: Console) -> None:
    """Print what a job would run: tasks, lanes, gangs, trained numbers, where things go."""
    job, lm = plan.job, plan.backbone.unit_lm
    table = Table(title=f"job {job.name}: {len(plan.tasks)} tasks", title_justify="left")
    table.add_column("task", no_wrap=True)
    for heading in ("family", "lang", "classes"):
        table.add_column(heading)
    for heading in ("train/valid/test", "lanes", "steps", "trained"):
        table.add_column(heading, justify="right")
    for task in plan.tasks:
        spec, counts = task.spec, task.dataset.counts
        table.add_row(
            spec.name,
            Text(spec.family),
            Text(spec.language),
            "x".join(str(len(labels)) for labels in task.dataset.labels),
            "/".join(str(counts[split]) for split in SPLITS),
            str(len(spec.seeds)),
            f"{spec.recipe.steps:,}",
            f"{task.prompt_shape(plan.backbone).size:,}",
        )
    console.print(table)
    lanes = [len(task.spec.seeds) for task in plan.tasks]
    together = AUTOMATIC_LANES if job.gang == "auto" else job.gang
    gangs = sum(-(-count // together) for count in lanes) if job.gang == "auto" else -(-sum(lanes) // together)
    resources = ", ".join(f"{name} {value}" for name, value in job.resources if value is not None) or "by the machine"
    recipes = {
        f"{task.spec.recipe.name}, length {task.spec.recipe.prompt_length}, {task.spec.recipe.verbalizer} verbalizer"
        for task in plan.tasks
    }
    for name, value in (
        ("recipe", "; ".join(sorted(recipes))),
        ("backbone", f"{plan.backbone.name}: {lm.kind} {lm.layers} x {lm.dim}, {plan.lm_bytes / MIB:.0f} MiB shared"),
        ("gangs", f"{sum(lanes)} lanes in {gangs} gangs of at most {together} lanes"),
        ("actors", resources),
        ("bundles", job.bundles),
        ("storage", job.storage),
        ("units", job.units),
    ):
        console.print(f"{name:>9}  {value}", markup=False, highlight=False, soft_wrap=True)
    for note in plan.notes:
        console.print(f"     note  {note}", markup=False, highlight=False, soft_wrap=True)
