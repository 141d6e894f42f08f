"""The frozen LM in Ray's object store, shared by all gangs of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import ray
from ray.exceptions import RayTaskError

from infra.errors import BackboneError
from workers.backbone.directory import read_backbone
from workers.backbone.sharing import SharedLM

if TYPE_CHECKING:
    from ray import ObjectRef


def shared_backbone(uri: str, planned: str) -> ObjectRef[SharedLM]:
    """Put the LM of a backbone into the object store.

    Args:
        uri: directory of the backbone.
        planned: fingerprint of the unit LM in the job's plan.

    Raises:
        BackboneError, StorageError: the backbone cannot be read, does not match its fingerprints, or was replaced since
            the job was planned.
    """
    # Two references; Ray's stub types it as one.
    references: Any = _load.remote(uri, planned)
    fingerprint, shared = references
    try:
        # Raises the worker's error without fetching the LM.
        ray.get(fingerprint)
    except RayTaskError as error:
        raise error.cause from error
    return cast("ObjectRef[SharedLM]", shared)


@ray.remote(num_cpus=0, num_returns=2)
def _load(uri: str, planned: str) -> tuple[str, SharedLM]:
    """Read the LM in a worker, so that the driver holds no tensors, and Ray can repeat it after losing a node."""
    shared = SharedLM.of(read_backbone(uri))
    if shared.fingerprint != planned:
        raise BackboneError(
            f"{uri}: was replaced since the job was planned: its unit LM has fingerprint {shared.fingerprint[:12]} "
            f"instead of {planned[:12]}; run the job again to tune on the new one, or put the old one back"
        )
    return shared.fingerprint, shared
