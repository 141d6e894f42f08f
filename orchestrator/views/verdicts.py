"""Verdicts on prompts against baselines, as cells and sentences for every form of the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from orchestrator.report import TaskRow
from workers.evaluation.comparison import MANY_EXAMPLES, MARGIN, SMALL_MARGIN, VERDICTS, Verdict

NONE: Final = "-"
_AGAINST: Final[dict[Verdict, str]] = {
    "win": "win over", "tie": "tie with", "loss": "loss to", "undecided": "undecided against",
}  # fmt: skip
_PLURALS: Final[dict[Verdict, str]] = {"win": "wins", "tie": "ties", "loss": "losses", "undecided": "undecided"}


def verdict_cell(row: TaskRow) -> str:
    """Return the verdict with the baseline that it is against."""
    found = row.verdict
    return NONE if found is None or found.verdict is None else f"{_AGAINST[found.verdict]} {found.baseline}"


def difference_cell(row: TaskRow) -> str:
    """Return the difference to the baseline in points with its interval; above 0 where the prompts are better."""
    if row.verdict is None or (comparison := row.verdict.comparison) is None:
        return ""
    low, high = comparison.interval
    return f"{100 * comparison.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def winner(row: TaskRow) -> str | None:
    """Return ``prompt`` or the name of the baseline that is significantly better than the other; ``None``: neither."""
    match row.verdict and row.verdict.verdict:
        case "win":
            return "prompt"
        case "loss":
            return row.verdict.baseline if row.verdict else None
    return None


def any_verdict(rows: Sequence[TaskRow]) -> bool:
    """Return whether prompts of any task were to be compared with a baseline."""
    return any(row.verdict is not None and row.verdict.baseline is not None for row in rows)


def counts_line(rows: Sequence[TaskRow]) -> str:
    """Return how many verdicts there are of each kind, and what they mean."""
    counts = Counter(row.verdict.verdict for row in rows if row.verdict is not None)
    judged = sum(counts[verdict] for verdict in VERDICTS)
    said = ", ".join(f"{counts[one]} {one if counts[one] == 1 else _PLURALS[one]}" for one in VERDICTS)
    return (
        f"Prompts against the baseline that is best on validation: {said} (paired bootstrap over test utterances or "
        f"speakers, and seeds; Holm's correction over {judged} task{'s' if judged != 1 else ''}; a tie is at most "
        f"{100 * MARGIN:g} point worse, {100 * SMALL_MARGIN:g} with fewer than {MANY_EXAMPLES:,} test examples)."
    )


def verdict_lines(rows: Sequence[TaskRow]) -> list[str]:
    """Return sentences about the tasks where a baseline wins, and about those without a verdict."""
    return [line for row in rows for line in [loss_line(row), reason_line(row)] if line]


def loss_line(row: TaskRow) -> str:
    """Return that a baseline is significantly better, in plain words; empty if none is."""
    found = row.verdict
    if found is None or found.verdict != "loss" or found.comparison is None:
        return ""
    low, high = found.comparison.interval
    return (
        f"{row.task}: the baseline {found.baseline} is significantly better than the prompts, by "
        f"{-100 * found.comparison.difference:.1f} points (95 % interval {-100 * high:.1f} to {-100 * low:.1f})."
    )


def reason_line(row: TaskRow) -> str:
    """Return why there is no verdict; empty if there is one, or nothing to compare with."""
    found = row.verdict
    return f"{row.task}: no verdict: {found.reason}" if found is not None and found.reason and found.baseline else ""
