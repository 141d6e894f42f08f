"""The clips of a plan's tasks, tokenized."""

from __future__ import annotations

from orchestrator.cluster import actor_size
from orchestrator.plan import Plan, PlannedTask
from orchestrator.progress import ProgressView
from orchestrator.tokenizing import ClipRequest, TokenizingReport, tokenize
from workers.backbone.directory import read_tokenizer

QUARANTINED_SHOWN = 10


def clip_requests(task: PlannedTask) -> list[ClipRequest]:
    """The clips of a task."""
    clips = (example.clip for example in task.dataset.examples)
    return [ClipRequest(clip, task.spec.audio) for clip in clips if clip is not None]


def tokenize_tasks(plan: Plan, view: ProgressView) -> TokenizingReport:
    """Tokenize what the unit cache does not hold, and say what cannot be used.

    Raises:
        StorageError: as ``tokenize``.
        JobError: actors of the wanted size do not fit the cluster.
    """
    requests = [request for task in plan.tasks for request in clip_requests(task)]
    if not requests:
        return TokenizingReport()
    tokenizer = read_tokenizer(plan.job.backbone, plan.backbone)
    size = actor_size(plan.job.resources)
    with view.stage("tokenizing") as stage:
        report = tokenize(
            requests,
            tokenizer=tokenizer,
            fingerprint=plan.backbone.fingerprints.tokenizer,
            cache_root=plan.job.units,
            f0=None if plan.backbone.prosody is None else plan.backbone.prosody.tracker,
            gpus=size.gpus if tokenizer.gains_from_gpu else 0.0,
            progress=stage.update,
        )
    for line in report.damaged:
        view.line(line)
    view.line(
        f"units of {len(report.units):,} clips: {report.computed:,} computed, {report.cached:,} from the cache, "
        f"{len(report.quarantined):,} quarantined, "
        f"{len(report.long):,} longer than allowed"
    )
    shown = list(report.quarantined.items())[:QUARANTINED_SHOWN]
    for request, reason in shown:
        view.line(f"  quarantined {request.clip.uri}: {reason}")
    if len(report.quarantined) > len(shown):
        view.line(f"  and {len(report.quarantined) - len(shown)} more")
    for line in noted(report):
        view.line(f"  {line}")
    return report


def noted(report: TokenizingReport) -> list[str]:
    """What a user should know of clips that are used, a sentence for each thing with the number of clips."""
    uris: dict[str, list[str]] = {}
    for request, units in report.units.items():
        if units.note is not None:
            uris.setdefault(units.note, []).append(request.clip.uri)
    return [f"noted of {len(found):,} clips, such as {found[0]}: {note}" for note, found in uris.items()]
