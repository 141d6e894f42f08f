"""Confusion matrices and unit use as pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.errors import MissingExtra
from workers.evaluation.unit_use import UnitUse

MOST_DRAWN = 200
"""Beyond this many classes drawing takes minutes, and nobody reads it."""
LABEL_CHARACTERS = 20
MOST_NUMBERED = 20
"""Beyond this many classes the cells are too small for numbers."""


def axes_of(size: tuple[float, float], title: str) -> Any:
    """The axes of a picture of their own, drawn without a display.

    Args:
        size: width and height in inches.
        title: cut where it is long; ``$`` begins no formula.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "train") from error
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(shortened(title, 4 * LABEL_CHARACTERS), fontsize=10, parse_math=False)
    return axes


def png(axes: Any) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def confusion_png(table: NDArray[np.int64], labels: Sequence[str], title: str) -> bytes:
    """Draw counts, rows are labels and columns predictions; colour is the share of the row.

    Args:
        table: int64 [classes, classes].
        labels: name of each class.
        title: of the picture.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    side = min(14.0, 2.6 + 0.42 * len(labels))
    axes = axes_of((side + 1, side), title)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.figure.colorbar(image, ax=axes, label="share of the label", shrink=0.8)
    ticks = range(len(labels))
    labels = [shortened(label) for label in labels]
    size = 9 if len(labels) <= MOST_NUMBERED else 5
    axes.set_xticks(ticks, labels, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(ticks, labels, fontsize=size, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    if len(labels) <= MOST_NUMBERED:
        for row, column in zip(*np.nonzero(table), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(table[row, column]), ha="center", va="center", fontsize=7, color=colour)
    return png(axes)


def shortened(text: str, most: int = LABEL_CHARACTERS) -> str:
    """A label or title that leaves room for the picture."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


MOST_CLASSES, MOST_UNITS = 40, 60
"""Beyond these a picture is not read any more: the first classes and the most important units are drawn."""


def unit_use_png(use: UnitUse, labels: Sequence[str], names: Sequence[str], title: str) -> bytes:
    """Draw mean Shapley values, rows are classes and columns the units that some class uses most.

    Args:
        use: of one slot.
        labels: name of each class.
        names: of each output.
        title: of the picture.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    labels = [shortened(label) for label in labels[:MOST_CLASSES]]
    columns = _columns(use, len(labels))
    values = use.own[: len(labels), columns]
    axes = axes_of((3.5 + 0.24 * len(columns), 1.8 + 0.3 * len(labels)), title)
    limit = float(np.abs(values).max()) or 1.0
    image = axes.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    axes.figure.colorbar(image, ax=axes, label="mean Shapley value")
    axes.set_xticks(
        range(len(columns)), [names[column] for column in columns], rotation=90, fontsize=8, parse_math=False
    )
    axes.set_yticks(range(len(labels)), labels, fontsize=8, parse_math=False)
    axes.set_xlabel("unit")
    return png(axes)


def _columns(use: UnitUse, classes: int) -> list[int]:
    """Outputs that are among the first of a class, as many of each class as there is room for, by number."""
    each = max(1, MOST_UNITS // classes)
    chosen = set(use.top(each)[:classes].ravel().tolist())
    return sorted(sorted(chosen, key=lambda output: -float(use.importance[:classes, output].max()))[:MOST_UNITS])
