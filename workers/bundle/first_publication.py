"""When a job first made a bundle: with that, making it again gives the same bytes, provenance included.

Only so can a job that was killed between publishing and signing tell whether the ``bundle.json`` in the store is the
one it has written: everything else in it follows from the outcomes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from infra import object_storage
from infra.errors import DamagedFile, ObjectNotFound
from workers.bundle.format import Bundle, pack
from workers.bundle.manifest import Version
from workers.job_store.files import PUBLISHED

FIRST_FILE: Final = "published.json"
"""Beside the outcome of the lane whose prompt it is."""


class FirstMade(BaseModel):
    """Which version was made first, and when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Version
    created: AwareDatetime


def as_first_made(bundle: Bundle, lane: str) -> Bundle:
    """The bundle with the time at which it was first made, which is kept if it is made for the first time.

    Args:
        bundle: what is to be published.
        lane: directory of the outcome that it was made of.

    Raises:
        BundleError: tensors and manifest disagree.
        StorageError: the time cannot be kept.
    """
    provenance = bundle.manifest.provenance
    made = FirstMade(version=pack(bundle).manifest.version, created=provenance.created)
    first = first_made(lane)
    if first is None or first.version != made.version:
        PUBLISHED.write(object_storage.join(lane, FIRST_FILE), made.model_dump_json().encode())
        return bundle
    provenance = provenance.model_copy(update={"created": first.created})
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"provenance": provenance}))


def first_made(lane: str) -> FirstMade | None:
    """What was kept of a lane's bundle; ``None`` if nothing was, or it is damaged: then it is a bundle made anew.

    Args:
        lane: directory of the outcome.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        return FirstMade.model_validate_json(PUBLISHED.read(object_storage.join(lane, FIRST_FILE)))
    except (ObjectNotFound, DamagedFile, ValidationError):
        return None
