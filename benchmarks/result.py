"""What a benchmark says: one number beside its target."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Literal

import torch


@dataclass(frozen=True)
class Result:
    """One line of the closing table.

    Attributes:
        what: the two arms compared, or the quantity.
        value: the measured number.
        target: what is wanted of it; ``None`` where it is only told.
        better: whether the value has to be at least or at most the target.
        note: absolute numbers, conditions.
    """

    what: str
    value: float
    target: float | None = None
    better: Literal["at least", "at most"] = "at least"
    note: str = ""

    @property
    def reached(self) -> str:
        if self.target is None:
            return ""
        good = self.value >= self.target if self.better == "at least" else self.value <= self.target
        return "yes" if good else "no"


def markdown(title: str, results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    lines = [f"### {title}", "", "| what | measured | target | reached | |", "|---|---|---|---|---|"]
    for result in results:
        target = "" if result.target is None else f"{result.better} {result.target:g}"
        lines.append(f"| {result.what} | {result.value:.3g} | {target} | {result.reached} | {result.note} |")
    return "\n".join(lines)


def alternate(
    arms: Mapping[str, Callable[[], float]],
    *,
    rounds: int,
    seconds: float = 0.0,
    busy: bool = False,
    warm: bool = False,
) -> dict[str, list[tuple[float, float]]]:
    """Run all arms in turn, so that what disturbs the machine disturbs all of them.

    Args:
        arms: each does some work and returns how much.
        rounds: turns after one that warms up, unless the arms are ``warm`` already.
        seconds: an arm repeats its work in a turn until so much time is over.
        busy: for a machine that others use too: one thread, and its processor time instead of the wall's.

    Returns:
        For each arm, by turn, the work done and the seconds it took.
    """
    clock = process_time if busy else perf_counter
    if busy:
        torch.set_num_threads(1)
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for turn in range(warm, rounds + 1):
        for name, arm in arms.items():
            work, started = 0.0, clock()
            while not work or clock() - started < seconds:
                work += arm()
            if turn:
                turns[name].append((work, clock() - started))
    return turns


def speed_ratio(turns: Mapping[str, Sequence[tuple[float, float]]], fast: str, slow: str) -> float:
    """How many times the work per second of ``slow`` the arm ``fast`` does: the median over turns."""
    return median(
        (work / seconds) / (slow_work / slow_seconds)
        for (work, seconds), (slow_work, slow_seconds) in zip(turns[fast], turns[slow], strict=True)
    )


def speed(turns: Sequence[tuple[float, float]]) -> float:
    """Median work per second."""
    return median(work / seconds for work, seconds in turns)


def arguments(doc: str | None, *, rounds: int) -> argparse.Namespace:
    """``--rounds`` and ``--busy`` of a benchmark run by itself."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--busy", action="store_true", help="others use the machine: one thread, by processor time")
    return parser.parse_args()
