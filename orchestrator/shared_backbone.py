"""The frozen LM, put into the object store once for all gangs of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import ray
from ray.exceptions import RayTaskError

from workers.backbone.directory import read_backbone
from workers.backbone.sharing import SharedLM

if TYPE_CHECKING:
    from ray import ObjectRef


def shared_backbone(uri: str) -> ObjectRef[SharedLM]:
    """The LM of a backbone in the object store.

    Raises:
        BackboneError, StorageError: it cannot be read, or is not what its fingerprints say.
    """
    # Two references, which Ray's stub does not know.
    references: Any = _load.remote(uri)
    fingerprint, shared = references
    try:
        # The small one of the two values comes home with the error, if there is one.
        ray.get(fingerprint)
    except RayTaskError as error:
        raise error.cause from error
    return cast("ObjectRef[SharedLM]", shared)


@ray.remote(num_cpus=0, num_returns=2)
def _load(uri: str) -> tuple[str, SharedLM]:
    """Read by a worker, so that the driver holds no tensors."""
    shared = SharedLM.of(read_backbone(uri))
    return shared.fingerprint, shared
