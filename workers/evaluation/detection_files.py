"""A detector's scores and errors as files: for other tools, and as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infra.errors import MissingExtra
from infra.printable import spreadsheet_cell
from workers.evaluation.error_rates import ErrorRates
from workers.evaluation.figures import axes_of, png
from workers.evaluation.metrics import Predictions

SCORES_FILE, DET_FILE = "scores_test.tsv", "det_test.tsv"
TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99)


def detection_files(test: Predictions, labels: tuple[str, ...], positive: int) -> dict[str, bytes]:
    """Tab-separated texts by file name.

    ``SCORES_FILE`` has one line per test example, in the order of the manifests without those that were left out: its
    label, and the log odds of the positive class. ``DET_FILE`` has one line per threshold: the scores from which on
    examples are accepted, and the shares of misses and false alarms.
    """
    scores, is_positive = test.detection(positive)
    curve = ErrorRates(scores, is_positive)
    named = [labels[number] for number in test.labels[:, 0]]
    lines = [f"{spreadsheet_cell(label)}\t{score:.9g}" for label, score in zip(named, scores, strict=True)]
    rates = zip(curve.thresholds, *curve.rates(), strict=True)
    points = [f"{threshold:.9g}\t{miss:.9g}\t{alarm:.9g}" for threshold, miss, alarm in rates]
    return {
        SCORES_FILE: "\n".join(["label\tscore", *lines, ""]).encode(),
        DET_FILE: "\n".join(["threshold\tmiss_rate\tfalse_alarm_rate", *points, ""]).encode(),
    }


def det_png(test: Predictions, positive: int, title: str) -> bytes:
    """The detection error tradeoff on normal deviate axes.

    Martin et al., The DET curve in assessment of detection task performance, Eurospeech 1997.

    Args:
        test: what is drawn.
        positive: number of the positive class.
        title: of the picture.

    Raises:
        MissingExtra: matplotlib or scipy is not installed.
    """
    try:
        from scipy.special import ndtri
    except ImportError as error:
        raise MissingExtra("scipy", "train") from error
    curve = ErrorRates(*test.detection(positive))
    misses, alarms = (_deviates(ndtri, rates) for rates in curve.rates())
    axes = axes_of((5.6, 5.2), f"{title}: EER {100 * curve.equal_error_rate():.2f} %")
    axes.step(alarms, misses, where="post")
    places = ndtri(np.array(TICKS))
    axes.plot(places[[0, -1]], places[[0, -1]], color="grey", linewidth=0.8, linestyle="--")
    names = [f"{100 * tick:g}" for tick in TICKS]
    axes.set_xticks(places, names)
    axes.set_yticks(places, names)
    axes.set_xlim(places[0], places[-1])
    axes.set_ylim(places[0], places[-1])
    axes.set_xlabel("false alarms, %")
    axes.set_ylabel("misses, %")
    axes.grid(alpha=0.3)
    return png(axes)


def _deviates(ndtri: np.ufunc, rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Within what the axes show and a little more, since 0 and 1 lie at infinity."""
    deviates: NDArray[np.float64] = ndtri(np.clip(rates, 1e-5, 1 - 1e-5))
    return deviates
