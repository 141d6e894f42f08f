"""Baselines of one task, computed, stored and logged; one that fails says why, and the others go on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import MissingExtra, SpeechPromptError
from infra.tracking import Tracking
from workers.baselines.baseline import Baseline, BaselineTask, Fitted, figures_of
from workers.baselines.encoder import read_features
from workers.baselines.kinds import BASELINES
from workers.baselines.order import BaselineOrder
from workers.baselines.result import BaselineResult, write_result
from workers.evaluation.answers import Answers
from workers.prompting.examples import check_examples
from workers.prompting.sampling import few_shot
from workers.tuning.lane_examples import drawn_examples, stored_examples

if TYPE_CHECKING:
    import torch

    from workers.backbone.sharing import SharedLM


def run_baselines(
    orders: Sequence[BaselineOrder],
    shared: SharedLM | None = None,
    device: torch.device | str = "cpu",
    *,
    threads: int = 1,
) -> list[BaselineResult]:
    """Carry out the orders of one task, one after the other, each with its own MLflow run.

    Args:
        orders: at least one, all of the same task.
        shared: the LM, for baselines that need it.
        device: where the LM computes.
        threads: of torch.

    Raises:
        StorageError: a result cannot be written.
    """
    results = []
    with Tracking(orders[0].tracking, Path(orders[0].spool)) as tracking:
        if any(BASELINES[order.kind].computes_with_torch for order in orders):
            import torch

            torch.set_num_threads(threads)
        for order in orders:
            result, answers = run_baseline(order, shared, device)
            result = write_result(order.results, result, answers)
            _log(tracking, order, result)
            results.append(result)
    return results


def run_baseline(
    order: BaselineOrder, shared: SharedLM | None = None, device: torch.device | str = "cpu"
) -> tuple[BaselineResult, Answers | None]:
    """The figures of one baseline and its answers on the test split, or why there are none."""
    spec, started = order.spec, time.monotonic()
    classes = [len(slot.labels) for slot in spec.slots]
    try:
        examples = stored_examples(spec)
        # Without the LM nothing minds an unknown unit.
        check_examples(examples, classes, 2**15 if shared is None else len(shared.unit_tokens), spec.task)
        features = None if order.features is None else read_features(order.features, spec.task)
        if features is not None and spec.shots is not None:
            drawn = few_shot(examples.splits["train"].example_labels, spec.shots, seed=spec.seed)
            features["train"] = features["train"][drawn]
        task = BaselineTask(spec, drawn_examples(spec, examples), shared, device, order.precision, features)
        fitted = _fitted(BASELINES[order.kind], task)
        figures = {split: figures_of(predictions, spec) for split, predictions in fitted.predictions.items()}
    except SpeechPromptError as error:
        return BaselineResult(key=order.key, kind=order.kind, error=str(error)), None
    except (ValueError, MemoryError, RuntimeError) as error:
        # scikit-learn's and torch's own: bad numbers, no memory.
        message = f"it failed ({type(error).__name__}: {error}); leave it out of the job's baselines"
        return BaselineResult(key=order.key, kind=order.kind, error=message), None
    result = BaselineResult(
        key=order.key,
        kind=order.kind,
        figures=figures,
        trained=fitted.trained,
        settings=dict(fitted.settings),
        seconds=time.monotonic() - started,
    )
    return result, fitted.predictions["test"].answers(spec.positive_class, examples.splits["test"].speakers)


def _fitted(baseline: Baseline, task: BaselineTask) -> Fitted:
    lm = task.shared if baseline.needs_lm else None
    if lm is not None:
        lm.verify()
    try:
        fitted = baseline.fit(task)
    except ImportError as error:
        raise MissingExtra("scikit-learn", "train") from error
    if lm is not None:
        lm.verify()
    return fitted


def _log(tracking: Tracking, order: BaselineOrder, result: BaselineResult) -> None:
    """The same columns as lanes have, so that the compare view shows both side by side."""
    log = tracking.run(
        order.experiment,
        order.run_name,
        key=order.key,
        parent_key=order.parent_key,
        params=order.params,
        # Also without an error, for one that failed before may have left its own.
        tags={
            "task": order.spec.task,
            "speechprompt.kind": "baseline",
            "baseline": order.kind,
            "error": result.error or "",
        },
    )
    if result.error is not None:
        log.finish("FAILED")
        return
    # MLflow keeps the first value of a parameter, so one that failed must not have said 0.
    log.params({"trainable_parameters": result.trained})
    first = f"test/{order.spec.metric}"
    values = {f"{split}/{name}": value for split, part in result.figures.items() for name, value in part.items()}
    # MLflow's compare view opens on the metric that a run logged first.
    log.point(0, {first: values[first]} | values | {"tuning/seconds": result.seconds})
    log.tags({f"baseline.{name}": value for name, value in result.settings.items()})
    log.finish("FINISHED")
