"""Checks of this machine and of the places that a job names; each yields one line with a verdict and a remedy."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import torch

from infra import object_storage
from infra.conditional_writes import require_conditional_writes
from infra.errors import SpeechPromptError
from infra.redaction import redacted
from infra.tracking import check
from infra.tracking.faults import shown
from orchestrator.cluster.ray_place import cluster_address, place_for_ray, ray_problems, require_answer
from orchestrator.job import Job
from workers.backbone.directory import BackboneDescription, read_description
from workers.precision import has_bf16_units
from workers.unit_lm.kinds import parameter_count

Verdict = Literal["good", "warning", "bad"]
ALWAYS: Final = ("torch", "torchaudio", "boto3", "numpy")
FOR_TUNING: Final = ("ray", "mlflow", "scikit-learn")
"""Packages of the extra ``train``."""
OPEN_FILES = 4096
"""Ray opens dozens of files and sockets for each worker."""
FREE_DISK = 2 << 30
CLOCK_SECONDS = 60.0
"""Largest tolerated clock difference. S3 refuses signatures that are 15 minutes off; MLflow's time axes are wrong
long before."""
CLOCK_ANSWER_SECONDS = 5.0
GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        what: name of what was checked.
        verdict: whether it is as it should be.
        seen: what was found, with the remedy where it is not good.
    """

    what: str
    verdict: Verdict
    seen: str


def examine(job: Job | None) -> Iterator[Finding]:
    """Check this machine and, with a job, the backbone, stores and servers that it names."""
    yield from _packages()
    yield from _devices()
    yield _open_files()
    yield from _ray()
    description = None
    if job is not None:
        description, finding = _backbone(job.backbone)
        yield finding
    yield _shared_memory(description)
    if job is None:
        return
    for place in dict.fromkeys((job.bundles, job.storage, job.units)):
        yield _conditional_writes(place) if object_storage.is_s3(place) else _disk(place)
    finding = _tracking(job.tracking, job.name)
    yield finding
    if finding.verdict == "good" and job.tracking.startswith("http"):
        yield _clock(job.tracking)


def _packages() -> Iterator[Finding]:
    found, missing = [], []
    for name in (*ALWAYS, *FOR_TUNING):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield Finding("packages", "good", ", ".join(found))
    if missing:
        seen = f"{', '.join(missing)} missing, so tasks cannot be tuned; run pip install 'speechprompt[train]'"
        yield Finding("packages", "warning", seen)


def _devices() -> Iterator[Finding]:
    units = "bf16" if has_bf16_units(torch.device("cpu")) else "no bf16"
    yield Finding("CPU", "good", f"{os.cpu_count()} cores, {units} units, torch uses {torch.get_num_threads()} threads")
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        yield Finding("GPU", "good", f"{name}, {free / GIB:.0f} of {total / GIB:.0f} GiB free")
    if not torch.cuda.device_count():
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
        yield Finding("GPU", "good", f"none ({built})")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= OPEN_FILES:
        return Finding("open files", "good", f"{soft:,} at a time")
    most = "unlimited" if hard == resource.RLIM_INFINITY else f"{hard:,}"
    return Finding("open files", "warning", f"{soft:,}, but Ray wants {OPEN_FILES:,}; raise ulimit -n (limit {most})")


def _ray() -> Iterator[Finding]:
    """Check the cluster at RAY_ADDRESS, or the directory in which a local Ray would keep its files."""
    problems = ray_problems()
    for problem in problems:
        yield Finding("Ray", "bad", str(problem))
    if problems:
        return
    address = cluster_address()
    if address is None:
        yield Finding("Ray", "good", f"starts here, with its files in {place_for_ray()[1]}")
        return
    try:
        require_answer(address)
    except SpeechPromptError as error:
        yield Finding("Ray", "bad", str(error))
    else:
        yield Finding("Ray", "good", f"the cluster at {address} (RAY_ADDRESS)")


def _backbone(uri: str) -> tuple[BackboneDescription | None, Finding]:
    try:
        description = read_description(uri)
    except SpeechPromptError as error:
        return None, Finding("backbone", "bad", str(error))
    lm = description.unit_lm
    return description, Finding("backbone", "good", f"{description.name}: {lm.kind} {lm.layers} x {lm.dim}, {uri}")


def _shared_memory(description: BackboneDescription | None) -> Finding:
    """Check /dev/shm, where Ray keeps objects such as the LM; if it is too small, Ray falls back to slow files."""
    try:
        free = shutil.disk_usage("/dev/shm").free  # noqa: S108
    except OSError:
        return Finding("shared memory", "good", "no /dev/shm; Ray keeps objects in files")
    wanted = GIB if description is None else GIB // 4 + 4 * parameter_count(description.unit_lm)
    seen = f"{free / GIB:.1f} GiB free in /dev/shm"
    if free >= wanted:
        return Finding("shared memory", "good", seen)
    return Finding(
        "shared memory", "warning", f"{seen}, but the LM wants {wanted / GIB:.1f}; raise docker's --shm-size"
    )


def _disk(place: str) -> Finding:
    there = Path(place)
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK):
        return Finding("disk", "bad", f"{place}: {there} cannot be written; choose another place")
    free = shutil.disk_usage(there).free
    verdict: Verdict = "good" if free >= FREE_DISK else "warning"
    return Finding("disk", verdict, f"{place}: {free / GIB:.0f} GiB free")


def _conditional_writes(place: str) -> Finding:
    """Check both conditional writes that publishing needs: create if absent, replace if unchanged."""
    try:
        object_storage.check(place)
        require_conditional_writes(place)
    except SpeechPromptError as error:
        return Finding("S3", "bad", str(error))
    return Finding("S3", "good", f"{place}: can be read and written, and obeys conditional writes")


def _tracking(uri: str, experiment: str) -> Finding:
    try:
        check(uri, experiment=experiment)
    except SpeechPromptError as error:
        return Finding("MLflow", "bad", str(error))
    return Finding("MLflow", "good", redacted(uri))


def _clock(uri: str) -> Finding:
    """Compare this machine's clock with the ``Date`` header of the MLflow server."""
    # Imported here because it needs MLflow, without which the server was not reached.
    from infra.tracking.bounded_http import head

    try:
        date = head(uri, CLOCK_ANSWER_SECONDS).headers.get("Date")
    except OSError as error:
        return Finding("clock", "warning", f"{redacted(uri)} did not send its time ({shown(error)})")
    if date is None:
        return Finding("clock", "warning", f"{redacted(uri)} did not send its time")
    ahead = time.time() - parsedate_to_datetime(date).timestamp()
    verdict: Verdict = "good" if abs(ahead) <= CLOCK_SECONDS else "bad"
    seen = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} {redacted(uri)}"
    return Finding(
        "clock", verdict, seen if verdict == "good" else f"{seen}; set this machine's clock, or the server's"
    )
