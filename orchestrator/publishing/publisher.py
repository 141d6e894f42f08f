"""Publishing of tasks while others are still being tuned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ray
from ray.exceptions import RayActorError

from infra import object_storage
from infra.json_log import log_as_json, log_fields
from infra.tracking import Tracking
from workers.backbone.sharing import SharedLM
from workers.bundle.mend import ASIDE
from workers.bundle.publish import Published
from workers.tuning.results.publish_task import PublishOrder, publish_task

if TYPE_CHECKING:
    from ray import ObjectRef


class Publisher:
    """Publishes tasks in one actor, one after the other, so that only one process loads what publishing needs.

    Args:
        shared: the LM in the object store.
        tracking: MLflow tracking URI.
        spool: local directory for unsent tracking events.
    """

    def __init__(self, shared: ObjectRef[SharedLM], tracking: str, spool: str) -> None:
        # Publishing is idempotent, so a call whose process died is repeated.
        actor: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=1)(_Publishing)
        self._actor = actor.remote(tracking, spool)
        # In a list, so that the actor fetches it only once. Not an argument of the actor's constructor, for which Ray
        # would not rebuild an object that was lost with its node.
        self._shared = [shared]

    def publish(self, order: PublishOrder) -> ObjectRef[Published]:
        """Publish a task after those before it; raises what ``publish_task`` raises."""
        return cast("ObjectRef[Published]", self._actor.publish.remote(order, self._shared))

    def close(self) -> None:
        """Send unsent events to MLflow, and end the actor."""
        try:
            ray.get(self._actor.close.remote())
        except RayActorError:
            # The next publisher finds unsent events in the spool.
            return


class _Publishing:
    def __init__(self, tracking: str, spool: str) -> None:
        log_as_json()
        self._tracking = Tracking(tracking, Path(spool))
        self._lm: SharedLM | None = None

    def publish(self, order: PublishOrder, shared: list[ObjectRef[SharedLM]]) -> Published:
        log_fields(job=order.experiment, task=order.sections.task.name)
        if self._lm is None:
            self._lm = ray.get(shared[0])
        published = publish_task(order, self._lm, self._tracking)
        self._tracking.let_go()
        return published

    def close(self) -> None:
        self._tracking.close()


def repair_note(published: Published, *, again: bool) -> str | None:
    """Return how a bundle was repaired from its lanes' outcomes; ``None`` if nothing was wrong.

    Args:
        published: result of publishing the bundle.
        again: whether its lanes had ended before this submission.
    """
    if published.mended:
        files = ", ".join(object_storage.basename(file) for file in published.mended)
        kept = object_storage.join(object_storage.parent(published.uri), ASIDE)
        return (
            f"{published.uri} was damaged ({files}) and is published again; the damaged files are kept in {kept}, "
            "unless they are larger than a bundle's files can be"
        )
    if published.created and again:
        return f"{published.uri} was missing; published again from the outcomes of its lanes"
    return None
