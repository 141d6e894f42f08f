"""What MLflow hears of a lane. Names are stable: they are the columns of the compare view.

``test/...`` and ``valid/...`` are the figures of the kept prompt, ``test/..._low`` and ``..._high`` the ends of a 95 %
confidence interval, ``calibration/...`` the temperatures; ``tuning/...`` are curves by optimizer step and
what they cost. What belongs to one slot is named by its place (``test/accuracy_slot1``); the parameter ``slots`` names
them in order.
"""

from __future__ import annotations

import math

import numpy as np

from infra.tracking import RunLog, Tracking
from task_specs.metric import slot_figure
from workers.evaluation.confusion import confusion_cells
from workers.evaluation.detection_files import det_png
from workers.evaluation.figures import MOST_DRAWN, confusion_png, unit_use_png
from workers.evaluation.metrics import Predictions
from workers.tuning.lane_spec import LaneSpec, Stop
from workers.tuning.orders import LaneOrder, run_key
from workers.tuning.results.outcome import LaneOutcome
from workers.tuning.results.unit_use_file import LaneUnitUse
from workers.tuning.step.gang import Evaluation
from workers.tuning.step.lane import Lane

TOP_UNITS = 10
"""Units of each class in the table of unit use."""
LOSS_POINTS = 10
"""Points of the training loss between two evaluations."""


def lane_run(tracking: Tracking, experiment: str, parent_key: str, order: LaneOrder) -> RunLog:
    """The run of a lane, new or the one it had before."""
    return tracking.run(
        experiment,
        order.run_name,
        key=run_key(order.key, order.generation),
        parent_key=parent_key,
        params=order.params,
        tags={"task": order.spec.task, "seed": order.spec.seed, "point": order.point},
    )


def log_failure(log: RunLog, error: str, stopped: Stop = "failed") -> None:
    """Why the run has no prompt."""
    log.tags({"stopped": stopped, "error": error})
    log.finish("FAILED")


def log_begin(log: RunLog, lane: Lane) -> None:
    """The figure that matters most, which is not a number yet.

    MLflow keeps metrics in the order in which a run first logged them, and its compare view opens on the first one.
    """
    log.point(0, {f"test/{lane.spec.metric}": math.nan})


def log_evaluation(log: RunLog, evaluation: Evaluation) -> None:
    """Curves: training loss as means over some steps, and validation metrics."""
    for window in np.array_split(np.array(evaluation.losses), min(LOSS_POINTS, len(evaluation.losses))):
        log.point(int(window[-1, 0]), {"tuning/train_loss": float(window[:, 1].mean())})
    curves = {f"tuning/valid_{name}": value for name, value in evaluation.metrics.items()}
    log.point(evaluation.step, {**curves, "tuning/learning_rate": evaluation.learning_rate})


def log_outcome(log: RunLog, lane: Lane, outcome: LaneOutcome, test: Predictions) -> None:
    """Figures of the kept prompt, its confusion matrices on the test split, and why the lane stopped."""
    figures = {f"{split}/{name}": value for split, part in outcome.figures.items() for name, value in part.items()}
    metric = lane.spec.metric
    if metric in outcome.intervals:
        low, high = outcome.intervals[metric]
        figures |= {f"test/{metric}_low": low, f"test/{metric}_high": high}
    for slot, temperature in enumerate(outcome.temperatures):
        figures[f"calibration/{slot_figure('temperature', slot)}"] = temperature
    utterances = outcome.steps * lane.spec.recipe.batch_size
    log.point(
        outcome.best_step,
        {
            **figures,
            "tuning/steps": outcome.steps,
            "tuning/seconds": outcome.seconds,
            "tuning/utterances_per_second": utterances / max(outcome.seconds, 1e-9),
        },
    )
    # An attempt before this one may have left an error.
    log.tags({"stopped": outcome.stopped, "best_step": outcome.best_step, "restarts": outcome.restarts, "error": ""})
    for slot, described in enumerate(lane.spec.slots):
        if len(described.labels) <= MOST_DRAWN:
            title = f"{lane.spec.name}, test, step {outcome.best_step}: {described.name}"
            log.figure(slot_figure("confusion", slot), confusion_png(test.confusion(slot), described.labels, title))
        cells = confusion_cells(test, slot)
        log.table(
            slot_figure("confusion", slot),
            {
                "label": [described.labels[label] for label, _, _ in cells],
                "predicted": [described.labels[predicted] for _, predicted, _ in cells],
                "count": [count for _, _, count in cells],
            },
        )
    positive = lane.spec.positive_class
    if positive is not None:
        log.figure("det", det_png(test, positive, f"{lane.spec.name}, test, step {outcome.best_step}"))


def log_unit_use(log: RunLog, spec: LaneSpec, use: LaneUnitUse) -> None:
    """Which units the verbalizer goes by, as a picture and a table of each slot."""
    for place, (described, slot) in enumerate(zip(spec.slots, use.slots, strict=True)):
        title = f"{spec.name}: {described.name}, what speaks for each class"
        log.figure(slot_figure("unit_use", place), unit_use_png(slot, described.labels, use.names, title))
        top = slot.top(TOP_UNITS)
        rows = [(number, output) for number, outputs in enumerate(top.tolist()) for output in outputs]
        log.table(
            slot_figure("unit_use", place),
            {
                "label": [described.labels[number] for number, _ in rows],
                "unit": [use.names[output] for _, output in rows],
                "importance": [float(slot.importance[cell]) for cell in rows],
                "own": [float(slot.own[cell]) for cell in rows],
            },
        )
