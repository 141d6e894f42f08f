"""What lanes leave behind: their outcomes in storage, and their runs in MLflow."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from infra.errors import DamagedFile
from infra.tracking import RunLog, Tracking
from task_specs.example import SPLITS, Split
from workers.backbone.sharing import SharedLM
from workers.evaluation.confusion import Cells, confusion_cells
from workers.evaluation.detection_files import detection_files
from workers.evaluation.metrics import Predictions
from workers.evaluation.unit_use import unit_use
from workers.prompting.examples import SplitExamples
from workers.tuning.lane_spec import Stop
from workers.tuning.orders import GangOrder, LaneOrder
from workers.tuning.results.class_scores import CLASS_SCORES_FILE, ClassScores
from workers.tuning.results.final_metrics import FinalMetrics, final_metrics
from workers.tuning.results.heard_file import HEARD_FILE, heard_bytes, heard_examples
from workers.tuning.results.mlflow_columns import lane_run, log_begin, log_failure, log_outcome, log_unit_use
from workers.tuning.results.outcome import LaneOutcome, read_outcome, write_outcome
from workers.tuning.results.unit_use_file import UNIT_USE_FILE, LaneUnitUse, unit_use_bytes
from workers.tuning.step.frozen_watch import FrozenWatch
from workers.tuning.step.gang import Gang
from workers.tuning.step.lane import Lane
from workers.tuning.step.lane_state import LaneState
from workers.tuning.step.loss import slot_mappings

MOST_EXAMPLES = 2000
"""Training examples of the background, and test examples that are explained, at most."""


def lane_unit_use(gang: Gang, lane: Lane, values: Tensor, unit_tokens: Sequence[int]) -> LaneUnitUse | None:
    """Unit use of a prompt on the test split, against the mean of the training split; all ranks take part.

    Of either split at most ``MOST_EXAMPLES`` are looked at, a seeded draw that is the same for all lanes of a task.

    Args:
        gang: that reads with the prompt.
        lane: whose prompt it is.
        values: its numbers, float32 [at least shape.size].
        unit_tokens: token id of each unit.

    Returns:
        ``None`` for a verbalizer that is not linear, of which there is nothing to find out.
    """
    shape = lane.shape
    kept = slot_mappings(lane, values.double().cpu())
    matrices = [matrix for slot in kept if (matrix := lane.verbalizer.matrix(slot)) is not None]
    if not matrices:
        return None
    test = _drawn(lane.examples.splits["test"])
    scores = slice(shape.vocabulary)
    train = gang.read(lane, values, _drawn(lane.examples.splits["train"]))
    background = train[..., scores].double().mean(dim=0).cpu().numpy()
    logits = gang.read(lane, values, test)[..., scores].double().cpu().numpy()
    units = np.full(shape.vocabulary, -1, dtype=np.int64)
    units[list(unit_tokens)] = np.arange(len(unit_tokens))
    # What several units share, <unk>, is none of them.
    shared, counts = np.unique(unit_tokens, return_counts=True)
    units[shared[counts > 1]] = -1
    return LaneUnitUse(
        [
            unit_use(logits[:, slot], test.labels[:, slot], matrix[:, scores].numpy(), background[slot])
            for slot, matrix in enumerate(matrices)
        ],
        units,
    )


def _drawn(examples: SplitExamples) -> SplitExamples:
    if examples.examples <= MOST_EXAMPLES:
        return examples
    return examples.take(np.sort(np.random.default_rng(0).permutation(examples.examples)[:MOST_EXAMPLES]))


MLFLOW_SECONDS = 10.0
"""Time in all that a gang waits for MLflow, so that outcomes know their runs."""

KEPT: frozenset[Stop] = frozenset({"steps", "patience"})
"""How lanes end whose prompt may be published."""


class LaneDesk:
    """Keeps the runs of an order's lanes in MLflow, and writes their outcomes.

    Args:
        order: what to tune.
        shared: the LM that they are tuned on.
        watch: over its weights.
        tracking: where lanes are logged; ``None`` on a rank that leaves runs and outcomes to another.
    """

    def __init__(self, order: GangOrder, *, shared: SharedLM, watch: FrozenWatch, tracking: Tracking | None) -> None:
        self._order, self._shared, self._watch, self._tracking = order, shared, watch, tracking
        self._patience = MLFLOW_SECONDS

    def open_run(self, order: LaneOrder, lane: Lane) -> RunLog | None:
        """The lane's MLflow run, new or the one it had before."""
        log = self._run(order)
        if log is None:
            return None
        log.params({"trainable_parameters": lane.shape.size})
        log_begin(log, lane)
        return log

    def has_outcome(self, order: LaneOrder) -> bool:
        """Whether the lane has left an outcome of this LM that is intact."""
        try:
            outcome = read_outcome(self._order.outcomes, order.key)
        except DamagedFile:
            # The driver, which ordered the lane again, has said so.
            return False
        return (
            outcome is not None
            and outcome.attempt >= order.attempt
            and outcome.lm_fingerprint == self._shared.fingerprint
        )

    def before_outcomes(self) -> None:
        """Nothing tuned with weights that were tampered with leaves this worker.

        Raises:
            FrozenWeightsChanged: the LM is no longer the one of its fingerprint.
        """
        self._watch.verify()
        if self._tracking is None:
            return
        started = time.monotonic()
        self._tracking.flush(self._patience)
        self._patience = max(0.0, self._patience - (time.monotonic() - started))

    def write(
        self, order: LaneOrder, lane: Lane, state: LaneState, gang: Gang, *, log: RunLog | None, seconds: float
    ) -> str | None:
        """The outcome of a lane that has stopped.

        Args:
            order: of the lane.
            lane: its spec and data.
            state: in which it stopped; its best prompt is kept.
            gang: that computes with the prompt.
            log: its MLflow run; ``None`` on a rank that leaves runs and outcomes to another.
            seconds: that it had of steps and evaluations.

        Returns:
            Why it has no prompt, if so.
        """
        progress = state.progress
        assert progress.stopped is not None  # noqa: S101
        diverged = progress.stopped == "diverged"
        predictions: dict[Split, Predictions] = {}
        if not diverged:
            predictions = {split: gang.predict(lane, state.best, lane.examples.splits[split]) for split in SPLITS[1:]}
        # Nobody looks at the units of a point that was dropped.
        use = lane_unit_use(gang, lane, state.best, self._shared.unit_tokens) if progress.stopped in KEPT else None
        # The predictions above were computed after the weights were verified.
        self._watch.glance()
        if log is None:
            return None
        final, files, positive = FinalMetrics(), {}, lane.spec.positive_class
        beside: dict[str, bytes] = {}
        confusions: list[Cells] = []
        if not diverged:
            speakers = lane.examples.splits["test"].speakers
            final = final_metrics(lane.spec, predictions, speakers)
            beside[CLASS_SCORES_FILE] = ClassScores(predictions, speakers).to_bytes()
            if progress.stopped in KEPT:
                heard = heard_examples(gang, lane, state.best, predictions["test"], final.temperatures)
                beside |= {HEARD_FILE: heard_bytes(heard)} if any(heard) else {}
            confusions = [confusion_cells(predictions["test"], slot) for slot in range(len(lane.spec.slots))]
            if positive is not None:
                files = detection_files(predictions["test"], lane.spec.slots[0].labels, positive)
        outcome = LaneOutcome(
            key=order.key,
            spec=order.spec,
            lm_fingerprint=self._shared.fingerprint,
            error=_divergence(order, lane, progress.taken) if diverged else None,
            stopped=progress.stopped,
            point=order.point,
            attempt=order.attempt,
            steps=progress.taken,
            best_step=progress.discarded + progress.best_step,
            restarts=progress.restarts,
            figures=final.metrics,
            temperatures=final.temperatures,
            intervals=final.intervals,
            draws=final.draws,
            confusions=confusions,
            trained=lane.shape.size,
            special_rows=lane.shape.special_rows,
            mapped_units=None if lane.mapped_units is None else [units.tolist() for units in lane.mapped_units],
            seconds=seconds,
            run_id=log.run_id(),
        )
        views = lane.shape.views(state.best)
        tensors = {name: view.numpy() for name, view in views.items()}
        if use is not None:
            beside[UNIT_USE_FILE] = unit_use_bytes(use)
        outcome = write_outcome(self._order.outcomes, outcome, tensors, beside | files)
        if diverged:
            log_failure(log, str(outcome.error), stopped="diverged")
        else:
            log_outcome(log, lane, outcome, predictions["test"])
            for name, content in files.items():
                log.text(name, content.decode())
            if use is not None:
                log_unit_use(log, lane.spec, use)
            log.finish("FINISHED")
        self._let_go(log)
        return outcome.error

    def write_failure(self, order: LaneOrder, error: str, *, steps: int = 0, seconds: float = 0.0) -> None:
        """The outcome of a lane that cannot begin, or not go on, and its MLflow run."""
        run = self._run(order)
        if run is None:
            return
        log_failure(run, error)
        outcome = LaneOutcome(
            key=order.key,
            spec=order.spec,
            lm_fingerprint=self._shared.fingerprint,
            error=error,
            stopped="failed",
            point=order.point,
            attempt=order.attempt,
            steps=steps,
            best_step=0,
            figures={},
            trained=0,
            special_rows=0,
            mapped_units=None,
            seconds=seconds,
            run_id=run.run_id(),
        )
        write_outcome(self._order.outcomes, outcome, {})
        self._let_go(run)

    def write_interruption(self, order: LaneOrder) -> None:
        """Into the MLflow run of a lane that may go on later: its next metrics make it run again."""
        run = self._run(order)
        if run is not None:
            run.finish("KILLED")

    def _let_go(self, log: RunLog) -> None:
        """A gang may have thousands of lanes one after the other."""
        assert self._tracking is not None  # noqa: S101
        self._tracking.let_go(log)

    def _run(self, order: LaneOrder) -> RunLog | None:
        if self._tracking is None:
            return None
        return lane_run(self._tracking, self._order.experiment, self._order.parent_key, order)


def _divergence(order: LaneOrder, lane: Lane, step: int) -> str:
    name = f"{lane.spec.name} {order.point}".strip()
    return (
        f"{name}: the loss was not finite at step {step}; "
        f"lower recipe.learning_rate, which is {lane.spec.recipe.learning_rate:g}"
    )
