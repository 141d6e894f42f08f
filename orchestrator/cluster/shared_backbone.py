"""The frozen LM, put into the object store once for all gangs of a job."""

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
    """The LM of a backbone in the object store.

    Args:
        uri: of the backbone.
        planned: fingerprint of the unit LM for which the job was planned.

    Raises:
        BackboneError, StorageError: it cannot be read, is not what its fingerprints say, or is another LM by now.
    """
    # Two references, which Ray's stub does not know.
    references: Any = _load.remote(uri, planned)
    fingerprint, shared = references
    try:
        # The small one of the two values comes home with the error, if there is one.
        ray.get(fingerprint)
    except RayTaskError as error:
        raise error.cause from error
    return cast("ObjectRef[SharedLM]", shared)


@ray.remote(num_cpus=0, num_returns=2)
def _load(uri: str, planned: str) -> tuple[str, SharedLM]:
    """Read by a worker, so that the driver holds no tensors; once more where Ray lost it with a node."""
    shared = SharedLM.of(read_backbone(uri))
    if shared.fingerprint != planned:
        raise BackboneError(
            f"{uri}: was replaced since the job was planned: its unit LM has fingerprint {shared.fingerprint[:12]} "
            f"instead of {planned[:12]}; run the job again to tune on the new one, or put the old one back"
        )
    return shared.fingerprint, shared
