"""Driver of a job, from recordings to bundles: tokenize, encode, tune on Ray Tune, publish, report.

Each stage takes what the previous one returned. If a task fails in a stage, its reason goes into ``failures`` and the
other tasks go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from orchestrator.job import Job
from orchestrator.job_files import begin_anew, first_attempt, spool_directory
from orchestrator.job_status import DriverLog
from orchestrator.plan import Plan
from orchestrator.plan_checks import require_safe_places
from orchestrator.progress import ProgressView
from orchestrator.publishing.publisher import Publisher
from orchestrator.publishing.task_bundles import PublishedTask, TaskBundles
from orchestrator.ready_task import ReadyTask, with_failed_ordered_again
from orchestrator.recordings.examples import clip_requests, encode, tokenize_tasks
from orchestrator.recordings.features import task_features
from orchestrator.recordings.tokenizing import TokenizingReport
from orchestrator.report import JobReport, job_root, planned_row, write_report
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
from orchestrator.tuning.lanes import lane_orders
from orchestrator.tuning.outcomes import Outcomes
from orchestrator.tuning.resolved import ResolvedSettings, precision_on_worker
from orchestrator.tuning.tuning import Tuning, TuningContext
from orchestrator.verdicts import verdicts
from workers.backbone.sharing import SharedLM
from workers.baselines.order import FeatureKeys
from workers.bundle.signing import SigningKey
from workers.job_store.files import EXAMPLES, OUTCOME
from workers.precision import ResolvedPrecision

if TYPE_CHECKING:
    from ray import ObjectRef


@dataclass(frozen=True)
class Submission:
    """What all stages of one submission of a job share.

    Attributes:
        plan: checked job, backbone and tasks.
        key: key of the submission's MLflow run.
        submitted: time of the submission, UTC.
        retry_failed: whether tasks and gangs that failed before are tried again.
        restart: whether every lane starts from its first step; published bundles stay.
        view: display of progress.
        interruption: request to end the job early.
        outcomes: stored outcomes of the job's lanes.
        spool: local directory for unsent tracking events.
        signing_key: key that signs the bundles; ``None``: they are not signed.
        size: resources of one actor.
        resolved: values of the job's settings that are ``auto``.
        precision: precision of the LM's matrix products.
    """

    plan: Plan
    key: str
    submitted: datetime
    retry_failed: bool
    restart: bool
    view: ProgressView
    interruption: Interruption
    outcomes: Outcomes
    spool: str
    signing_key: SigningKey | None
    size: ActorSize
    resolved: ResolvedSettings
    precision: ResolvedPrecision

    @property
    def job(self) -> Job:
        return self.plan.job

    @property
    def root(self) -> str:
        """Directory of the job in its storage, local or S3."""
        return job_root(self.job)


@dataclass(frozen=True)
class JobEnd:
    """Result of a submission.

    Attributes:
        report: report with a row for each task.
        lost_with_workers: names of tasks that failed because their workers or nodes died.
    """

    report: JobReport
    lost_with_workers: frozenset[str]


def run_job(
    plan: Plan,
    *,
    retry_failed: bool = False,
    restart: bool = False,
    view: ProgressView,
    interruption: Interruption | None = None,
) -> JobEnd:
    """Run a job on the Ray cluster of this process; a failed task becomes a row of the report, not an error.

    Args:
        plan, retry_failed, restart, view, interruption: as in ``Submission``.

    Raises:
        JobError: actors of the requested size do not fit the cluster, or another submission runs the job.
        BackboneError: the backbone does not match its fingerprints.
        StorageError: a store that the job needs cannot be used.
        RayFailed: Ray, or a part of it, has ended.
        KeyboardInterrupt: the job was interrupted.
    """
    job, submitted = plan.job, datetime.now(UTC)
    root, key = job_root(job), submission_key(job.name, submitted)
    spool, own_key = spool_directory(root, job.name), signing_key()
    require_safe_places(job)
    with JobLease(root, key):
        log_fields(job=job.name)
        log = DriverLog(job, key, submitted, len(plan.tasks))
        size, resolved = actor_size(job.resources), ResolvedSettings(root, anew=restart, say=view.line)
        submission = Submission(
            plan,
            key,
            submitted,
            retry_failed,
            restart,
            view,
            interruption or Interruption(),
            Outcomes(OUTCOME.directory(root), unit_lm=plan.backbone.fingerprints.unit_lm, say=view.line),
            spool,
            own_key,
            size,
            resolved,
            resolved.precision(job.precision, partial(precision_on_worker, size)),
        )
        return _run(submission, log)


def _run(submission: Submission, log: DriverLog) -> JobEnd:
    plan, job, view = submission.plan, submission.job, submission.view
    log.enter("tokenizing")
    tokenized = tokenize_tasks(plan, view)
    tasks, failures = encode_tasks(submission, tokenized, task_features(plan, tokenized, view))
    tasks, attempt = begin(submission, tasks)
    shared = shared_backbone(job.backbone, plan.backbone.fingerprints.unit_lm)
    # Before MLflow has a run of this submission: after a kill the next submission looks for that run.
    log.enter("tuning", lanes=sum(len(task.lanes) for task in tasks), failures=failures)
    with Tracking(job.tracking, Path(submission.spool)) as tracking:
        log_killed(tracking, job, log)
        parent = tracking.run(
            job.name,
            submission_name(submission.key),
            key=submission.key,
            params={"tasks": len(plan.tasks), "backbone": plan.backbone.name, "gang": job.gang},
            tags=SUBMISSION,
        )
        try:
            with lost_ray_explained(), rays_faults_explained():
                end = _tune_and_publish(submission, log, tasks, failures, attempt, shared, tracking)
        # Not only JobInterrupted: an interrupted call into Ray raises a bare KeyboardInterrupt.
        except KeyboardInterrupt:
            parent.finish("KILLED")
            log.enter("ended", failures=failures, outcome="interrupted; submit it again to go on")
            raise
        except SpeechPromptError as error:
            parent.tags({"error": redacted(str(error))})
            parent.finish("FAILED")
            log.enter("ended", failures=failures, outcome=redacted(str(error)))
            raise
        published = sum(row.status == "published" for row in end.report.tasks)
        parent.point(0, {"tasks_published": published})
        parent.finish("FINISHED" if end.report.complete else "FAILED")
        outcome = f"{published} of {len(plan.tasks)} tasks published"
        log.enter("ended", failures=failures, outcome=outcome)
        unsent = tracking.close()
    end_what_is_left(job, log, view)
    if unsent.events or unsent.refused:
        view.line(f"MLflow: {unsent}")
    return end


def _tune_and_publish(
    submission: Submission,
    log: DriverLog,
    tasks: Sequence[ReadyTask],
    failures: dict[str, str],
    attempt: int,
    shared: ObjectRef[SharedLM],
    tracking: Tracking,
) -> JobEnd:
    """Run the stages on Ray, adding failed tasks to ``failures`` even if a stage is interrupted."""
    baselines = start_baselines(submission, tasks, shared)
    for task in submission.plan.tasks:
        if (error := failures.get(task.spec.name)) is not None:
            log_failed_task(tracking, submission.job.name, submission.key, task.spec.name, error)
    retried = with_failed_ordered_again(tasks, submission.outcomes) if submission.retry_failed else list(tasks)
    bundles = TaskBundles(
        submission.plan,
        retried,
        publisher=Publisher(shared, submission.job.tracking, submission.spool),
        outcomes=submission.outcomes,
        began=attempt,
        signing_key=submission.signing_key,
        view=submission.view,
    )
    bundles.publish_complete()
    context = TuningContext(
        job=submission.job,
        resolved=submission.resolved,
        precision=submission.precision,
        shared=shared,
        size=submission.size,
        outcomes=submission.outcomes,
        submission=submission.key,
        spool=submission.spool,
        retry_failed=submission.retry_failed,
        interruption=submission.interruption,
    )
    tuning = Tuning(context, view=submission.view, on_lanes_ended=bundles.publish_complete)
    first = [lane for task in tasks for lane in task.lanes]
    again = [lane for old, new in zip(tasks, retried, strict=True) for lane in new.lanes if lane not in old.lanes]
    # Two runs, so that unfinished lanes are found in the Tune experiment in which they began.
    ran = [tuning.run(lanes) for lanes in (first, again)]
    if not any(ran):
        submission.view.line("tuning: every lane finished before")
    failures |= {name: redacted(error) for name, error in tuning.failures.items()}
    for lane in tuning.lost:
        log_lost_lane(tracking, submission.job.name, submission.key, lane, tuning.failures[lane.spec.task])
    log.enter("publishing", failures=failures)
    published = bundles.collect()
    failures |= {name: redacted(error) for name, error in published.failures.items()}
    for name in published.tasks:
        # A task can be published although some of its lanes were lost.
        failures.pop(name, None)
    report = _report(submission, tasks, failures, published.tasks, baselines)
    return JobEnd(report, frozenset(tuning.lost_with_workers) | published.lost_with_workers)


def encode_tasks(
    submission: Submission, tokenized: TokenizingReport, features: Mapping[str, FeatureKeys]
) -> tuple[list[ReadyTask], dict[str, str]]:
    """Encode and store the examples of every task, and order its lanes.

    Args:
        submission: submission whose tasks are encoded.
        tokenized: units of the tasks' clips.
        features: where continuous features of tasks' examples are, by task.

    Returns:
        Tasks that can be tuned, in the order of the plan, and why each of the others cannot, by name.

    Raises:
        StorageError: examples cannot be stored.
    """
    ready, failures = [], {}
    for task in submission.plan.tasks:
        try:
            if refused := tokenized.refused(clip_requests(task)):
                more = f"; and {len(refused) - 1} more such recordings" if len(refused) > 1 else ""
                failures[task.spec.name] = redacted(f"{refused[0]}{more}")
                continue
            backbone = submission.plan.backbone
            encoded = encode(task.spec, task.dataset, tokenized.units, backbone.prosody, tokenized.long)
        except SpeechPromptError as error:
            failures[task.spec.name] = redacted(str(error))
            continue
        place = EXAMPLES.at(submission.root, digest=encoded.examples.digest())
        if object_storage.write_addressed(place, encoded.examples.to_bytes()):
            submission.view.line(f"{place} did not hold the examples of {task.spec.name} and was written again")
        lanes = lane_orders(
            task.spec,
            task.dataset,
            encoded,
            examples_uri=place,
            backbone=backbone,
            precision=submission.precision,
        )
        ready.append(ReadyTask(task, encoded, tuple(lanes), features.get(task.spec.name)))
    return ready, failures


def begin(submission: Submission, tasks: Sequence[ReadyTask]) -> tuple[list[ReadyTask], int]:
    """Set the attempt of every lane: the current one, or a new one with ``restart``.

    Returns:
        The tasks with their lanes so ordered, and the attempt.
    """
    outcomes, view = submission.outcomes, submission.view
    if submission.restart:
        attempt = begin_anew(submission.root, (found for task in tasks for found in outcomes.of(task.lanes)))
        view.line(f"restart: every lane starts from its first step (attempt {attempt}); published bundles stay")
    else:
        attempt = first_attempt(submission.root)
    if attempt > 1:
        update = {"attempt": attempt, "generation": attempt}
        tasks = [replace(task, lanes=tuple(lane.model_copy(update=update) for lane in task.lanes)) for task in tasks]
    ended = [len(outcomes.of(task.lanes)) for task in tasks]
    if any(ended):
        view.line(f"resume: {sum(ended)} of {sum(len(task.lanes) for task in tasks)} lanes ended before")
    return [
        replace(task, ended_before=count == len(task.lanes)) for task, count in zip(tasks, ended, strict=True)
    ], attempt


def start_baselines(submission: Submission, tasks: Sequence[ReadyTask], shared: ObjectRef[SharedLM]) -> Baselines:
    """Start the baselines of all tasks."""
    baselines = Baselines(
        submission.job,
        submission.plan.backbone,
        precision=submission.precision,
        size=submission.size,
        submission=submission.key,
        spool=submission.spool,
        retry_failed=submission.retry_failed or submission.restart,
        view=submission.view,
    )
    for task in tasks:
        baselines.start(task.lanes[0], shared, task.features)
    return baselines


def _report(
    submission: Submission,
    ready: Sequence[ReadyTask],
    failures: Mapping[str, str],
    published: Mapping[str, PublishedTask],
    baselines: Baselines,
) -> JobReport:
    """Build the row of each task with the verdict on it, and store the report."""
    encoded = {task.name: task.encoded for task in ready}
    results = baselines.collect()
    outcomes = {name: done.outcomes for name, done in published.items()}
    ensembles = {task.spec.name for task in submission.plan.tasks if task.spec.publish == "ensemble"}
    judged = verdicts(submission.outcomes.root, outcomes, baselines.root, results, ensembles)
    rows = []
    for task in submission.plan.tasks:
        name, row = task.spec.name, planned_row(task)
        if (examples := encoded.get(name)) is not None:
            update = {
                "majority": examples.majority,
                "quarantined": examples.quarantined,
                "long": examples.long,
                "examples": examples.counts(task.spec.shots),
            }
            row = row.model_copy(update=update)
        if (done := published.get(name)) is not None:
            update = {
                "status": "published",
                "bundle": done.uri,
                "unit_agreement": done.seeds.unit_agreement,
                "verdict": judged[name],
            }
            row = row.with_outcomes(done.outcomes, done.seeds.together).model_copy(update=update)
        elif name in failures:
            row = row.model_copy(update={"status": "failed", "error": failures[name]})
        rows.append(row.with_baselines(results.get(name, {})))
    report = JobReport(job=submission.job.name, backbone=submission.plan.backbone.name, tasks=rows)
    write_report(submission.job, report)
    return report
