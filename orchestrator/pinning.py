"""The bundles that prompts begin with, found and held to one version when a job is planned."""

from __future__ import annotations

from typing import Any

from infra.errors import Problem, SpeechPromptError
from task_specs.problems import shown
from task_specs.prompt_init import BundleInit
from task_specs.schema import TaskSpec
from workers.backbone.directory import BackboneDescription
from workers.bundle.read import FoundBundle, find


def pinned(spec: TaskSpec, backbone: BackboneDescription) -> tuple[TaskSpec, list[Problem]]:
    """The spec with every bundle it begins with named by its version, and what is wrong with those bundles."""
    problems: list[Problem] = []
    found: dict[str, FoundBundle] = {}

    def pin(value: Any, field: str) -> Any:
        if not isinstance(value, BundleInit):
            return value
        try:
            bundle = find(value.bundle)
        except SpeechPromptError as error:
            message, _, remedy = str(error).rpartition("; ")
            problems.append(Problem(shown(spec.source), field, message, remedy))
            return value
        wrong = _misfit(bundle, value, backbone)
        if wrong is not None:
            problems.append(Problem(shown(spec.source), field, *wrong))
            return value
        found[bundle.uri] = bundle
        return BundleInit(bundle=bundle.uri, version=bundle.version)

    recipe = spec.recipe.model_copy(update={"prompt_init": pin(spec.recipe.prompt_init, "recipe.prompt_init")})
    sweep = spec.sweep
    if sweep is not None and sweep.prompt_init is not None:
        inits = tuple(pin(value, "sweep.prompt_init") for value in sweep.prompt_init)
        if len(set(inits)) < len(inits):
            problems.append(Problem(shown(spec.source), "sweep.prompt_init", "names a bundle twice", "remove one"))
        sweep = sweep.model_copy(update={"prompt_init": inits})
    spec = spec.model_copy(update={"recipe": recipe, "sweep": sweep})
    for point in spec.points:
        init = point.recipe.prompt_init
        if not isinstance(init, BundleInit) or init.bundle not in found:
            continue
        length = found[init.bundle].manifest.prompt.length
        if length != point.recipe.prompt_length:
            message = f"is {point.recipe.prompt_length}, but the prompt of bundle {init.bundle} has length {length}"
            problems.append(Problem(shown(spec.source), "recipe.prompt_length", message, f"set it to {length}"))
            break
    return spec, problems


def _misfit(bundle: FoundBundle, init: BundleInit, backbone: BackboneDescription) -> tuple[str, str] | None:
    theirs = bundle.manifest.backbone
    if theirs.unit_lm != backbone.fingerprints.unit_lm:
        message = f"{bundle.uri} was tuned on another unit LM ({theirs.name or theirs.unit_lm[:12]})"
        return message, f"name a bundle of backbone {backbone.name!r}"
    if init.version not in ("", bundle.version):
        return f"{bundle.uri} is not version {init.version}", "name the directory of that version"
    return None
