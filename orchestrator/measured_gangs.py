"""What was measured of gangs, kept for this machine: the same job forms the same gangs again, though times vary, and
so tunes the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from infra import object_storage
from infra.errors import ObjectNotFound, StorageError
from infra.private_directory import private_directory
from orchestrator.cluster import ActorSize
from workers.job_files import MEASURED_GANGS
from workers.orders import LaneOrder
from workers.precision import Precision
from workers.prompting.probe import Measured

_MEASURED = TypeAdapter(list[Measured])


def place_of(lanes: Sequence[LaneOrder], *, most: int, size: ActorSize, precision: Precision) -> str:
    """The file for gangs of these lanes, on actors of this size of this machine.

    Args:
        lanes: to tune; their keys are digests of LM, data and recipe.
        most: lanes of the largest gang that is of use.
        size: of actors.
        precision: of the LM's matrix products.

    Raises:
        StorageError: there is no place for it that is this user's alone.
    """
    facts = {
        "lanes": sorted(lane.key for lane in lanes),
        "most": most,
        "size": asdict(size),
        "precision": precision,
        "machine": _machine(),
    }
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return object_storage.join(_directory(), f"{name}.json")


def remembered(place: str) -> list[Measured] | None:
    """What an earlier job measured, ``None`` if none did.

    Raises:
        DamagedFile: what is stored is not what was measured.
        StorageError: it cannot be read.
    """
    try:
        return _MEASURED.validate_json(MEASURED_GANGS.read(place))
    except ObjectNotFound:
        return None
    except ValidationError as error:
        raise MEASURED_GANGS.damaged(place, "does not hold widths that were measured") from error


def remember(place: str, measured: Sequence[Measured]) -> None:
    """Keep it for later jobs.

    Raises:
        StorageError: it cannot be written.
    """
    MEASURED_GANGS.write(place, _MEASURED.dump_json(list(measured)))


def _directory() -> str:
    """Of this user alone: who can write it decides what others' jobs compute."""
    cache = os.environ.get("SPEECHPROMPT_CACHE")
    if cache and object_storage.is_s3(cache):
        return object_storage.join(cache, "gangs")
    try:
        place = Path(cache) if cache else Path.home() / ".cache" / "speechprompt"
        return str(private_directory(place.absolute() / "gangs"))
    except RuntimeError as error:
        raise StorageError("this user has no home directory; name a place by SPEECHPROMPT_CACHE") from error
    except StorageError as error:
        raise StorageError(f"{error} by SPEECHPROMPT_CACHE") from error


def _machine() -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"cpu": _cpu_model(), "cores": os.cpu_count(), "gpus": gpus, "torch": torch.__version__}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
