"""Field type of where a prompt begins: drawn, taken from the LM's own states, or from another task's bundle."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from infra import object_storage
from task_specs.field_types import Location
from task_specs.validation import described, fault, suggestion

NAMES = ("normal", "units")


class BundleInit(BaseModel):
    """Begin with the prompt of a bundle made on the same unit LM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Location
    """Directory of a task's bundles, which stands for its latest version, or of one version."""
    version: str = Field("", pattern=r"^([0-9a-f]{16})?$")
    """The version that is taken; filled in by the plan, so that a lane is known by what it began with."""


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
    """As it is called in names of runs: a bundle by its task and the beginning of its version."""
    if isinstance(init, str):
        return init
    # The plan names one version, whose directory lies in that of its task.
    place = object_storage.parent(init.bundle) if init.version else init.bundle
    return f"from-{object_storage.basename(place)}-{init.version[:6]}".rstrip("-")
