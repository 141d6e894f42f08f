"""What ``auto`` in a job file comes to, found once and kept with the job: the same job gives the same bytes wherever it
goes on."""

from __future__ import annotations

from collections.abc import Callable

import ray
import torch
from pydantic import BaseModel, Field, ValidationError

from infra import object_storage
from infra.errors import DamagedFile, ObjectNotFound
from orchestrator.cluster.session import ActorSize
from workers.job_store.files import RESOLVED
from workers.precision import Precision, ResolvedPrecision, resolve


class Found(BaseModel):
    """What has been found of a job.

    Attributes:
        precision: of the LM's matrix products; ``None`` while nobody asked.
        width: lanes that should share a pass; ``None`` while nobody asked.
        most: lanes of the largest gang that would have been of use then.
    """

    precision: ResolvedPrecision | None = None
    width: int | None = Field(default=None, ge=1)
    most: int = Field(default=0, ge=0)


class ResolvedSettings:
    """The settings of one job that were ``auto``.

    Args:
        root: directory of the job, local or S3.
        anew: whether what earlier submissions found is forgotten.
        say: called with the reason where it is damaged, and is found anew.

    Attributes:
        known: what has been found.

    Raises:
        StorageError: it cannot be read.
    """

    def __init__(self, root: str, *, anew: bool, say: Callable[[str], None]) -> None:
        self._place = object_storage.join(root, "gangs", "resolved.json")
        self.known = Found()
        if anew:
            return
        try:
            self.known = Found.model_validate_json(RESOLVED.read(self._place))
        except ObjectNotFound:
            pass
        except DamagedFile as error:
            say(str(error))
        except ValidationError:
            say(str(RESOLVED.damaged(self._place, "does not hold settings of a job")))

    def precision(self, asked: Precision, find: Callable[[], ResolvedPrecision]) -> ResolvedPrecision:
        """The precision of the job.

        Args:
            asked: by the job file.
            find: finds out what ``auto`` is on the job's actors.

        Raises:
            StorageError: it cannot be kept.
        """
        if asked != "auto":
            return asked
        if self.known.precision is None:
            self._keep(self.known.model_copy(update={"precision": find()}))
        assert self.known.precision is not None  # noqa: S101
        return self.known.precision

    def width(self, most: int, measure: Callable[[], int]) -> int:
        """Lanes of the job that should share a pass. A job that has grown since is measured again, if more may pay.

        Args:
            most: lanes of the largest gang that is of use.
            measure: finds out how many of them pay.

        Raises:
            StorageError: it cannot be kept.
        """
        known = self.known
        if known.width is None or known.width == known.most < most:
            self._keep(known.model_copy(update={"width": measure(), "most": most}))
        assert self.known.width is not None  # noqa: S101
        return min(self.known.width, most)

    def _keep(self, found: Found) -> None:
        RESOLVED.write(self._place, found.model_dump_json().encode())
        self.known = found


def precision_on_worker(size: ActorSize) -> ResolvedPrecision:
    """What ``auto`` is on an actor of this size."""
    found: ResolvedPrecision = ray.get(_precision.options(num_cpus=size.cpus, num_gpus=size.gpus).remote())
    return found


@ray.remote
def _precision() -> ResolvedPrecision:
    return resolve("auto", torch.device("cuda" if ray.get_gpu_ids() else "cpu"))
