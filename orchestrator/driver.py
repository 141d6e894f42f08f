"""A job from recordings to bundles: tokenize, encode, tune on Ray Tune, publish, report."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from infra import object_storage
from infra.errors import SpeechPromptError
from infra.json_log import log_fields
from infra.redaction import redacted
from infra.tracking import Tracking
from orchestrator.baselines import Baselines
from orchestrator.cluster.failures import rays_faults_explained
from orchestrator.cluster.interruption import Interruption
from orchestrator.cluster.lease import JobLease
from orchestrator.cluster.ray_watch import lost_ray_explained
from orchestrator.cluster.session import ActorSize, actor_size
from orchestrator.cluster.shared_backbone import shared_backbone
from orchestrator.job_files import begin_anew, first_attempt, spool_directory
from orchestrator.job_status import DriverLog
from orchestrator.plan import Plan
from orchestrator.plan_checks import require_safe_places
from orchestrator.progress import ProgressView
from orchestrator.publishing.publisher import Publisher
from orchestrator.publishing.task_bundles import TaskBundles
from orchestrator.recordings.examples import clip_requests, encode, tokenize_tasks
from orchestrator.recordings.tokenizing import TokenizingReport
from orchestrator.report import JobReport, job_root, write_report
from orchestrator.signing_key import signing_key
from orchestrator.submission_runs import (
    SUBMISSION,
    end_what_is_left,
    log_failed_task,
    log_killed,
    log_lost_lane,
    submission_key,
    submission_name,
)
from orchestrator.task_state import TaskState
from orchestrator.tuning.lanes import lane_orders
from orchestrator.tuning.outcomes import Outcomes
from orchestrator.tuning.resolved import ResolvedSettings, precision_on_worker
from orchestrator.tuning.tuning import Tuning, TuningContext
from workers.backbone.sharing import SharedLM
from workers.precision import ResolvedPrecision
from workers.tuning.orders import LaneOrder
from workers.tuning.results.outcome import has_whole_point

if TYPE_CHECKING:
    from ray import ObjectRef


class JobRun:
    """One submission of a job.

    Args:
        plan: what to do.
        retry_failed: whether tasks and gangs that failed before are tried again.
        restart: whether every lane begins anew; what is published stays.
        view: where progress is shown.
        interruption: by which it can be asked to end.

    Attributes:
        lost: tasks that failed with the workers or the machines that ran them.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        retry_failed: bool = False,
        restart: bool = False,
        view: ProgressView,
        interruption: Interruption | None = None,
    ) -> None:
        self._plan, self._job, self._view = plan, plan.job, view
        self._retry_failed, self._restart = retry_failed, restart
        self._interruption = interruption or Interruption()
        self._root = job_root(plan.job)
        self._outcomes = Outcomes(
            object_storage.join(self._root, "lanes"), unit_lm=plan.backbone.fingerprints.unit_lm, say=view.line
        )
        self._spool = spool_directory(self._root, plan.job.name)
        self._submitted = datetime.now(UTC)
        self._submission = submission_key(plan.job.name, self._submitted)
        self._tasks = [TaskState.of(task) for task in plan.tasks]
        self.lost: set[str] = set()
        self._log: DriverLog
        self._size: ActorSize
        self._resolved: ResolvedSettings
        self._precision: ResolvedPrecision
        self._signing_key = signing_key()

    def run(self) -> JobReport:
        """The whole job; a task that fails becomes a row of the report.

        Raises:
            JobError: actors of the wanted size do not fit the cluster, or another submission runs the job.
            BackboneError: the backbone is not what its fingerprints say.
            StorageError: a store the job needs cannot be used.
            RayFailed: Ray, or a part of it, has ended.
            KeyboardInterrupt: it was asked to end.
        """
        require_safe_places(self._job)
        with JobLease(self._root, self._submission):
            return self._run()

    def _run(self) -> JobReport:
        log_fields(job=self._job.name)
        self._log = DriverLog(self._job, self._submission, self._submitted, len(self._tasks))
        self._size = actor_size(self._job.resources)
        self._log.enter("tokenizing")
        tokenized = tokenize_tasks(self._plan, self._view)
        self._resolved = ResolvedSettings(self._root, anew=self._restart, say=self._view.line)
        self._precision = self._resolved.precision(self._job.precision, partial(precision_on_worker, self._size))
        self._encode(tokenized)
        self._began = self._begin()
        shared = shared_backbone(self._job.backbone, self._plan.backbone.fingerprints.unit_lm)
        # Before MLflow has a run of this submission: whoever comes after a kill looks for one.
        self._log.enter("tuning", lanes=sum(len(state.lanes) for state in self._tasks), failures=self._failures())
        with Tracking(self._job.tracking, Path(self._spool)) as tracking:
            log_killed(tracking, self._job, self._log)
            parent = tracking.run(
                self._job.name,
                submission_name(self._submission),
                key=self._submission,
                params={"tasks": len(self._tasks), "backbone": self._plan.backbone.name, "gang": self._job.gang},
                tags=SUBMISSION,
            )
            try:
                with lost_ray_explained(), rays_faults_explained():
                    report = self._carry_out(shared, tracking)
            # Of a bare kind where a call into Ray was broken off.
            except KeyboardInterrupt:
                parent.finish("KILLED")
                self._log.enter("ended", failures=self._failures(), outcome="interrupted; submit it again to go on")
                raise
            except SpeechPromptError as error:
                parent.tags({"error": redacted(str(error))})
                parent.finish("FAILED")
                self._log.enter("ended", failures=self._failures(), outcome=redacted(str(error)))
                raise
            published = sum(row.status == "published" for row in report.tasks)
            parent.point(0, {"tasks_published": published})
            parent.finish("FINISHED" if report.complete else "FAILED")
            outcome = f"{published} of {len(report.tasks)} tasks published"
            self._log.enter("ended", failures=self._failures(), outcome=outcome)
            unsent = tracking.close()
        end_what_is_left(self._job, self._log, self._view)
        if unsent.events or unsent.refused:
            self._view.line(f"MLflow: {unsent}")
        return report

    def _carry_out(self, shared: ObjectRef[SharedLM], tracking: Tracking) -> JobReport:
        baselines = self._start_baselines(shared)
        bundles = TaskBundles(
            self._plan,
            self._tasks,
            publisher=Publisher(shared, self._job.tracking, self._spool),
            outcomes=self._outcomes,
            began=self._began,
            signing_key=self._signing_key,
            view=self._view,
        )
        self._tune(shared, bundles, tracking)
        self._log.enter("publishing", failures=self._failures())
        bundles.collect()
        self.lost |= bundles.lost
        compared = baselines.collect()
        for state in self._tasks:
            state.row = state.row.with_baselines(compared.get(state.name, {}))
        return self._report()

    def _encode(self, tokenized: TokenizingReport) -> None:
        for state in self._tasks:
            spec, dataset = state.task.spec, state.task.dataset
            try:
                refused = tokenized.refused(clip_requests(state.task))
                if refused:
                    more = f"; and {len(refused) - 1} more such recordings" if len(refused) > 1 else ""
                    state.fail(f"{refused[0]}{more}")
                    continue
                state.encoded = encode(spec, dataset, tokenized.units, self._plan.backbone.prosody, tokenized.long)
            except SpeechPromptError as error:
                state.fail(str(error))
                continue
            examples = state.encoded.examples
            place = object_storage.join(self._root, "examples", f"{examples.digest()}.safetensors")
            if object_storage.write_addressed(place, examples.to_bytes()):
                self._view.line(f"{place} did not hold the examples of {state.name}, and is written anew")
            state.lanes = lane_orders(
                spec,
                dataset,
                state.encoded,
                examples_uri=place,
                backbone=self._plan.backbone,
                precision=self._precision,
            )
            state.row = state.row.model_copy(
                update={
                    "majority": state.encoded.majority,
                    "quarantined": state.encoded.quarantined,
                    "long": state.encoded.long,
                    "examples": state.encoded.counts(spec.shots),
                }
            )

    def _begin(self) -> int:
        """Order every lane for the attempt that this submission goes on with, or for a new one."""
        attempt = first_attempt(self._root) if not self._restart else self._begin_anew()
        if attempt > 1:
            update = {"attempt": attempt, "generation": attempt}
            for state in self._tasks:
                state.lanes = [lane.model_copy(update=update) for lane in state.lanes]
        ended = 0
        for state in self._tasks:
            outcomes = self._outcomes.of(state.lanes)
            ended, state.ended_before = ended + len(outcomes), len(outcomes) == len(state.lanes)
        if ended:
            self._view.line(f"resume: {ended} of {sum(len(state.lanes) for state in self._tasks)} lanes ended before")
        return attempt

    def _begin_anew(self) -> int:
        attempt = begin_anew(self._root, (found for state in self._tasks for found in self._outcomes.of(state.lanes)))
        self._view.line(f"restart: every lane begins anew (attempt {attempt}); published bundles stay")
        return attempt

    def _start_baselines(self, shared: ObjectRef[SharedLM]) -> Baselines:
        baselines = Baselines(
            self._job,
            self._plan.backbone,
            precision=self._precision,
            size=self._size,
            submission=self._submission,
            spool=self._spool,
            retry_failed=self._retry_failed or self._restart,
            view=self._view,
        )
        for state in self._tasks:
            if state.lanes:
                baselines.start(state.lanes[0], shared)
        return baselines

    def _tune(self, shared: ObjectRef[SharedLM], bundles: TaskBundles, tracking: Tracking) -> None:
        first = [lane for state in self._tasks for lane in state.lanes]
        again = self._order_failed_again() if self._retry_failed else []
        bundles.publish_complete()
        context = TuningContext(
            job=self._job,
            resolved=self._resolved,
            precision=self._precision,
            shared=shared,
            size=self._size,
            outcomes=self._outcomes,
            submission=self._submission,
            spool=self._spool,
            retry_failed=self._retry_failed,
            interruption=self._interruption,
        )
        tuning = Tuning(context, view=self._view, on_lanes_ended=bundles.publish_complete)
        # Apart, so that unfinished lanes are found in the experiment in which they began.
        ran = [tuning.run(lanes) for lanes in (first, again)]
        if not any(ran):
            self._view.line("tuning: every lane has finished before")
        for state in self._tasks:
            if state.name in tuning.failures:
                state.fail(tuning.failures[state.name])
            elif not state.lanes and state.row.error is not None:
                log_failed_task(tracking, self._job.name, self._submission, state.name, state.row.error)
        self.lost = tuning.lost_with_workers
        for lane in tuning.lost:
            log_lost_lane(tracking, self._job.name, self._submission, lane, tuning.failures[lane.spec.task])

    def _order_failed_again(self) -> list[LaneOrder]:
        """Orders the lanes of tasks that cannot be published because of lanes that failed."""
        again = []
        for state in self._tasks:
            outcomes = self._outcomes.of(state.lanes)
            failed = {outcome.key for outcome in outcomes if outcome.error is not None}
            if not failed or has_whole_point(outcomes):
                continue
            attempt = 1 + max(outcome.attempt for outcome in outcomes)
            # Under halving a lane goes on or not by comparison with all others.
            state.lanes = [
                lane.model_copy(update={"attempt": attempt}) if lane.halving or lane.key in failed else lane
                for lane in state.lanes
            ]
            again += [lane for lane in state.lanes if lane.attempt == attempt]
        return again

    def _failures(self) -> dict[str, str]:
        return {state.name: state.row.error for state in self._tasks if state.row.error is not None}

    def _report(self) -> JobReport:
        report = JobReport(
            job=self._job.name, backbone=self._plan.backbone.name, tasks=[state.row for state in self._tasks]
        )
        write_report(self._job, report)
        return report
