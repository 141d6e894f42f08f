"""Field type ``prompt_init``: how prompts are initialised."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from infra import object_storage
from task_specs.field_types import Location
from task_specs.validation import described, fault, suggestion

NAMES = ("normal", "units")


class BundleInit(BaseModel):
    """Initialise with the prompt of a bundle for the same unit LM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Location
    """Directory of one version of a bundle, or of a task, for its latest version."""
    version: str = Field("", pattern=r"^([0-9a-f]{16})?$")
    """Version of the bundle; the plan fills it in, so that it is part of a lane's key."""


def _prompt_init(value: Any, info: ValidationInfo) -> str | BundleInit:
    if isinstance(value, BundleInit) or value in NAMES:
        return value  # type: ignore[no-any-return]
    if isinstance(value, dict):
        return BundleInit.model_validate(value, context=info.context)
    if not isinstance(value, str):
        raise fault(
            f"must be 'normal', 'units' or a bundle, not {described(value)}", "for a bundle write {bundle: PATH}"
        )
    raise fault(f"must be 'normal', 'units' or a bundle, not {described(value)}", suggestion(value, NAMES))


PromptInit = Annotated[Literal["normal", "units"] | BundleInit, BeforeValidator(_prompt_init)]


def shown_init(init: str | BundleInit) -> str:
    """Return the name of an initialisation in names of runs: a bundle's task and the start of its version."""
    if isinstance(init, str):
        return init
    # With a version, ``bundle`` is its directory, which is below the task's.
    place = object_storage.parent(init.bundle) if init.version else init.bundle
    return f"from-{object_storage.basename(place)}-{init.version[:6]}".rstrip("-")
