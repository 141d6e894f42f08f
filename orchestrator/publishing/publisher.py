"""Publishes the tasks of a job while others are still being tuned."""

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
from workers.tuning.results.publish_best import PublishOrder, publish_task

if TYPE_CHECKING:
    from ray import ObjectRef


class Publisher:
    """Publishes in an actor, one task after the other: one process imports what that takes, for any number of tasks.

    Args:
        shared: the LM in the object store.
        tracking: MLflow tracking URI.
        spool: local directory in which unsent tracking data waits.
    """

    def __init__(self, shared: ObjectRef[SharedLM], tracking: str, spool: str) -> None:
        # Publishing again what was published changes nothing, so a call that was lost with its process is repeated.
        actor: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=1)(_Publishing)
        self._actor = actor.remote(tracking, spool)
        # In a list, as the actor fetches it once. Not given to the actor itself: Ray makes an object again that was
        # lost with its node, but not for the arguments of an actor.
        self._shared = [shared]

    def publish(self, order: PublishOrder) -> ObjectRef[Published]:
        """Publish a task when those before it are done; raises what ``publish_task`` does."""
        return cast("ObjectRef[Published]", self._actor.publish.remote(order, self._shared))

    def close(self) -> None:
        """Send MLflow what it has not heard yet, and end."""
        try:
            ray.get(self._actor.close.remote())
        except RayActorError:
            # What it had not sent lies in the spool, where the next one finds it.
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
    """What was wrong with a bundle that its lanes' outcomes have put right; ``None`` if nothing was.

    Args:
        published: what came of publishing it.
        again: whether its lanes had ended before this submission.
    """
    if published.mended:
        files = ", ".join(object_storage.basename(file) for file in published.mended)
        kept = object_storage.join(object_storage.parent(published.uri), ASIDE)
        return (
            f"{published.uri} was damaged ({files}) and is published again; what lay there is kept in {kept}, unless "
            "it was larger than a bundle's files can be"
        )
    if published.created and again:
        return f"{published.uri} was not there; published from the outcomes of its lanes"
    return None
