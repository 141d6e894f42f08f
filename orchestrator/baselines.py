"""Baselines of a job, computed in Ray tasks during tuning, once for the same data and the same LM."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from infra.digest import canonical_json
from infra.errors import DamagedFile, StorageError
from infra.json_log import log_as_json, log_fields
from orchestrator.cluster.session import ActorSize
from orchestrator.job import Job
from orchestrator.progress import ProgressView, Stage
from orchestrator.report import job_root
from workers.baselines.kinds import BASELINES
from workers.baselines.order import BaselineOrder, FeatureKeys
from workers.baselines.result import BaselineResult, read_result
from workers.job_store.files import BASELINE
from workers.precision import ResolvedPrecision
from workers.tuning.orders import LaneOrder

if TYPE_CHECKING:
    from ray import ObjectRef

    from workers.backbone.directory import BackboneDescription
    from workers.backbone.sharing import SharedLM

VERSION = 2
"""Version of the baselines; raising it recomputes stored results."""
SHARED_PARAMS = (
    "task",
    "family",
    "language",
    "classes",
    "slots",
    "train_examples",
    "quarantined",
    "metric",
    "backbone",
    "backbone_fingerprint",
    "tokenizer_fingerprint",
    "units_digest",
)
"""MLflow parameters that a baseline shares with the lanes of its task."""


class Baselines:
    """Computes what tasks reach without a prompt, in Ray tasks.

    Args:
        job: job whose ``baselines`` are computed.
        backbone: description of the job's backbone.
        precision: precision of the LM's matrix products.
        size: resources of one of the job's actors; a baseline that reads the LM, or gains from a GPU, takes as many.
        submission: key of the submission's MLflow run, the parent of the baselines' runs.
        spool: local directory for unsent tracking events.
        retry_failed: whether baselines that failed before are tried again.
        view: display of progress.

    Attributes:
        root: directory of the results.
    """

    def __init__(
        self,
        job: Job,
        backbone: BackboneDescription,
        *,
        precision: ResolvedPrecision,
        size: ActorSize,
        submission: str,
        spool: str,
        retry_failed: bool,
        view: ProgressView,
    ) -> None:
        self._job, self._backbone, self._size, self._view = job, backbone, size, view
        self._precision = precision
        self._submission, self._spool, self._retry_failed = submission, spool, retry_failed
        self.root = BASELINE.directory(job_root(job))
        self._known: dict[str, dict[str, BaselineResult]] = {}
        self._running: list[tuple[list[BaselineOrder], ObjectRef[list[BaselineResult]]]] = []

    def start(self, lane: LaneOrder, shared: ObjectRef[SharedLM], features: FeatureKeys | None = None) -> None:
        """Start the baselines of a lane's task whose results are not stored yet.

        Args:
            lane: first lane of the task.
            shared: the LM in the object store.
            features: where the continuous features of the task's examples are.
        """
        known = self._known.setdefault(lane.spec.task, {})
        alone: list[BaselineOrder] = []
        sized: list[BaselineOrder] = []
        for order in self.orders(lane, features):
            kind, result = BASELINES[order.kind], self._stored(order)
            if result is not None and not (result.error and self._retry_failed):
                known[order.kind] = result
            else:
                (sized if kind.needs_lm or (kind.gains_from_gpu and self._size.gpus) else alone).append(order)
        if alone:
            self._running.append((alone, _compute.remote(alone)))
        if sized:
            compute = _compute_on_actor.options(num_cpus=self._size.cpus, num_gpus=self._size.gpus)
            self._running.append((sized, compute.remote(sized, self._size.cpus, shared)))

    def collect(self) -> dict[str, dict[str, BaselineResult]]:
        """Wait for all results and return them by task, baselines in the order of the job file."""
        if self._running:
            with self._view.stage("baselines") as stage:
                self._wait(stage)
        return {
            task: {kind: known[kind] for kind in self._job.baselines if kind in known}
            for task, known in self._known.items()
        }

    def _stored(self, order: BaselineOrder) -> BaselineResult | None:
        try:
            return read_result(self.root, order.key)
        except DamagedFile as error:
            self._view.line(f"{order.run_name}: {error}")
            return None
        except StorageError as error:
            return BaselineResult(key=order.key, kind=order.kind, error=str(error))

    def _wait(self, stage: Stage) -> None:
        for number, (orders, running) in enumerate(self._running, start=1):
            try:
                results = ray.get(running)
            except RayError as error:
                # Results of a batch are stored one by one: some may be there.
                results = [self._stored(order) or _lost(order, error) for order in orders]
            for order, result in zip(orders, results, strict=True):
                self._known[order.spec.task][order.kind] = result
                if result.error is not None:
                    self._view.line(f"{order.spec.task}, baseline {order.kind}: {result.error}")
            stage.update(number, len(self._running))
        self._running.clear()

    def orders(self, lane: LaneOrder, features: FeatureKeys | None = None) -> list[BaselineOrder]:
        """Return an order for each baseline of the job, for the task of a lane."""
        return [
            BaselineOrder(
                key=_key(kind, lane, self._backbone, self._precision, features),
                kind=kind,
                spec=lane.spec,
                run_name=f"{lane.spec.task} {kind}",
                params={name: lane.params[name] for name in SHARED_PARAMS if name in lane.params}
                | {"recipe": f"baseline {kind}"},
                precision=self._precision,
                features=features if BASELINES[kind].needs_features else None,
                results=self.root,
                experiment=self._job.name,
                parent_key=self._submission,
                tracking=self._job.tracking,
                spool=self._spool,
            )
            for kind in self._job.baselines
        ]


def _key(
    kind: str,
    lane: LaneOrder,
    backbone: BackboneDescription,
    precision: ResolvedPrecision,
    features: FeatureKeys | None,
) -> str:
    """Return a digest of all that the result depends on, which excludes the examples' URI and the recipe."""
    content: dict[str, Any] = {
        "baseline": kind,
        "version": VERSION,
        "task": lane.spec.model_dump(mode="json", exclude={"examples", "recipe"}),
    }
    if BASELINES[kind].needs_lm:
        content |= {"unit_lm": backbone.fingerprints.unit_lm, "precision": precision}
    if BASELINES[kind].needs_features and features is not None:
        content |= {"features": features.model_dump(mode="json", exclude={"root"})}
    return hashlib.sha256(canonical_json(content)).hexdigest()[:32]


@ray.remote(num_cpus=1, max_retries=1)
def _compute(orders: list[BaselineOrder]) -> list[BaselineResult]:
    # The driver, and workers that look at verdicts, import this module without torch.
    from workers.baselines.run import run_baselines

    with _worker(orders):
        return run_baselines(orders)


@ray.remote(max_retries=1)
def _compute_on_actor(orders: list[BaselineOrder], cpus: float, shared: SharedLM) -> list[BaselineResult]:
    from workers.baselines.run import run_baselines

    with _worker(orders):
        device = "cuda" if ray.get_gpu_ids() else "cpu"
        return run_baselines(orders, shared, device, threads=max(1, int(cpus)))


@contextmanager
def _worker(orders: list[BaselineOrder]) -> Iterator[None]:
    log_as_json()
    log_fields(job=orders[0].experiment, task=orders[0].spec.task)
    yield
    # Ray reuses the process for other work.
    log_fields()


def _lost(order: BaselineOrder, error: RayError) -> BaselineResult:
    """Return the result of a worker that died; it is not stored, so that the next run tries again."""
    return BaselineResult(key=order.key, kind=order.kind, error=said_by(error))


def said_by(error: RayError) -> str:
    """Return why a Ray task gave no result."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    said = str(cause).strip().partition("\n")[0]
    return f"its worker ended ({type(cause).__name__}: {said}); run the job again"
