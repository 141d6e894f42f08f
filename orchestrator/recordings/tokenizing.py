"""Tokenizing of all tasks' recordings: a Ray Data pipeline in front of the unit cache.

First every file is read and hashed in parallel, so that clips are identified by content. Clips that the cache does not
hold are then tokenized once each, longest first, by a pool of workers that write the units into the cache themselves,
so that a killed run loses only the batches in progress.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from infra.errors import AudioError, DamagedFile, InvalidInputs, Problem
from orchestrator.recordings.batches import Meter, Progress, room_for
from orchestrator.recordings.encoding import tokenize_jobs
from orchestrator.recordings.hashing import File, hash_files
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from task_specs.table_audio import reading_order
from workers.speech.f0 import F0Settings, load_yaapt, values_per_frame
from workers.speech.tokenize_batch import Work
from workers.speech.tokenizer import Tokenizer
from workers.speech.unit_cache import Cached, Quarantined, UnitCache, content_key
from workers.speech.units import Units

UNREADABLE: Final = ("missing", "unreadable", "empty", "fatal")
_PROBLEMS_SHOWN: Final = 20
# Less than a sample at any speech rate, more than the rounding error of a file that is exactly as long as allowed.
_LENGTH_TOLERANCE_SECONDS: Final = 1e-5


class ClipRequest(NamedTuple):
    """A clip, and the audio policy of its task."""

    clip: Clip
    policy: AudioPolicy


@dataclass(frozen=True)
class TokenizingReport:
    """Result of tokenizing clips.

    Attributes:
        units: units of usable clips.
        quarantined: unusable clips, and why.
        computed: number of distinct clips tokenized in this run.
        cached: number of distinct clips that the cache held.
        audio_seconds: seconds of audio tokenized in this run.
        long: usable clips that were cropped or cut into windows, by the lengths in their files' headers.
        damaged: sentences about damaged shards of the cache.
        works: content of each clip that could be read, by which caches know it.
    """

    units: dict[ClipRequest, Units] = field(default_factory=dict)
    quarantined: dict[ClipRequest, Quarantined] = field(default_factory=dict)
    computed: int = 0
    cached: int = 0
    audio_seconds: float = 0.0
    long: set[ClipRequest] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)
    works: dict[ClipRequest, Work] = field(default_factory=dict)

    def reasons(self) -> dict[str, int]:
        """Return the number of quarantined clips by kind of reason, most frequent first."""
        return dict(Counter(reason.kind for reason in self.quarantined.values()).most_common())

    def check(self, requests: Iterable[ClipRequest]) -> None:
        """Check that no clip is quarantined whose policy makes this an error.

        Raises:
            AudioError: none of the recordings was found.
            InvalidInputs: recordings cannot be used, and their policy makes this an error.
        """
        problems = self.refused(requests)
        if problems:
            rest = len(problems) - _PROBLEMS_SHOWN
            more = [Problem("", "", f"and {rest} more recordings", "mend the first ones")] if rest > 0 else []
            raise InvalidInputs(problems[:_PROBLEMS_SHOWN] + more)

    def refused(self, requests: Iterable[ClipRequest]) -> list[Problem]:
        """Return problems with quarantined clips whose policy makes this an error.

        Raises:
            AudioError: none of the recordings was found.
        """
        wanted = list(dict.fromkeys(requests))
        reasons = {request: self.quarantined[request] for request in wanted if request in self.quarantined}
        if wanted and len(reasons) == len(wanted) and all(reason.kind == "missing" for reason in reasons.values()):
            uris = sorted({request.clip.uri for request in wanted})
            first = next(reason for request, reason in reasons.items() if request.clip.uri == uris[0])
            raise AudioError(f"none of {len(uris)} recordings was found, such as {uris[0]} ({first}); correct the root")
        problems = []
        for request, reason in reasons.items():
            if request.policy.unreadable == "error" and reason.kind in UNREADABLE:
                remedy = "or set audio.unreadable to quarantine"
            elif request.policy.too_long == "error" and reason.kind == "too long":
                remedy = "or set it to window or quarantine"
            else:
                continue
            problems.append(Problem(request.clip.uri, "", str(reason), remedy))
        return problems


def tokenize(
    requests: Iterable[tuple[Clip, AudioPolicy]],
    *,
    tokenizer: Tokenizer,
    fingerprint: str,
    cache_root: str,
    f0: F0Settings | None = None,
    cpus: float = 1.0,
    gpus: float = 0.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> TokenizingReport:
    """Tokenize clips on the running Ray cluster, or take their units from the cache.

    Args:
        requests: clips with the policies of their tasks; repeats cost nothing.
        tokenizer: tokenizer of the clips.
        fingerprint: fingerprint of the tokenizer, which names its folder in the cache.
        cache_root: local directory or ``s3://`` prefix.
        f0: settings of the F0 tracker, which takes far longer than most tokenizers; ``None``: units without F0. Units
            with and without F0 have separate folders in the cache.
        cpus: CPUs per worker.
        gpus: GPUs per worker.
        workers: largest number of workers; ``None``: as many as fit the cluster.
        progress: function called with the numbers of steps done and of all steps; a step is a file hashed or a clip
            tokenized.

    Raises:
        BackboneError: the tokenizer is external, or its frames do not span a whole number of F0 values.
        MissingExtra: F0 is tracked, but amfm-decompy is not installed.
        StorageError: recordings or the cache cannot be reached.
    """
    wanted = list(dict.fromkeys(ClipRequest(clip, policy) for clip, policy in requests))
    if not wanted:
        return TokenizingReport()
    # Raises here, before any file is read, if the tokenizer cannot work, such as an external one.
    tokenizer.encode([])
    if f0 is not None:
        load_yaapt()
        values_per_frame(f0, frame_seconds=tokenizer.frame_seconds)
    cache = UnitCache(cache_root, fingerprint, f0)
    workers = workers or room_for(cpus=cpus, gpus=gpus)
    uris = sorted({request.clip.uri for request in wanted}, key=lambda uri: (reading_order(uri), uri))
    meter = Meter(len(uris) + len(wanted), progress)

    files = hash_files(uris, workers=workers, meter=meter)
    works = {
        request: Work(
            content_key(file.sha256, start=request.clip.start, end=request.clip.end, policy=request.policy),
            file.sha256,
            request.clip,
            request.policy,
        )
        for request in wanted
        if (file := files[request.clip.uri]).failure is None
    }
    # Identical bytes share a key, for which the first clip stands.
    distinct = {work.key: work for work in reversed(works.values())}
    meter.total = len(uris) + len(distinct)
    results = cache.lookup(distinct)
    cached = len(results)
    meter.advance(cached)

    jobs = [work for key, work in distinct.items() if key not in results]
    # Rows of a table that are close together are read together; all other clips are ordered by length.
    jobs.sort(key=lambda job: (reading_order(job.clip.uri, 64), -_worked_on(job, files[job.clip.uri]), job.key))
    outcomes = tokenize_jobs(
        jobs,
        tokenizer=tokenizer,
        cache=(cache_root, fingerprint),
        f0=f0,
        cpus=cpus,
        gpus=gpus,
        workers=workers,
        meter=meter,
    )
    shards = sorted({outcome.shard for outcome in outcomes if outcome.shard is not None})
    results |= cache.lookup([outcome.key for outcome in outcomes if outcome.shard is not None], shards=shards)
    results |= {outcome.key: outcome.failure for outcome in outcomes if outcome.failure is not None}
    damaged = cache.remove_damaged()
    if distinct.keys() - results.keys():
        raise DamagedFile(f"{cache.directory} does not hold the units just written {damaged}; check the disk")

    report = TokenizingReport(
        computed=sum(outcome.shard is not None for outcome in outcomes),
        cached=cached,
        audio_seconds=math.fsum(outcome.seconds for outcome in outcomes),
        damaged=damaged,
        works=works,
    )
    _sort_out(wanted, files=files, results=results, report=report)
    return report


def _seconds(clip: Clip, file: File) -> float:
    start = clip.start or 0.0
    end = clip.end if clip.end is not None else (file.seconds or 0.0)
    return end - start


def _worked_on(job: Work, file: File) -> float:
    seconds = _seconds(job.clip, file)
    return seconds if job.policy.too_long == "window" else min(seconds, job.policy.max_seconds)


def _sort_out(
    wanted: Sequence[ClipRequest],
    *,
    files: Mapping[str, File],
    results: Mapping[str, Cached],
    report: TokenizingReport,
) -> None:
    """Add each clip to the usable or the quarantined ones."""
    for request in wanted:
        result = files[request.clip.uri].failure or results[report.works[request].key]
        if not isinstance(result, Units):
            report.quarantined[request] = result
            continue
        report.units[request] = result
        seconds = _seconds(request.clip, files[request.clip.uri])
        if request.policy.cuts and seconds > request.policy.max_seconds + _LENGTH_TOLERANCE_SECONDS:
            report.long.add(request)
