"""The manifest of a task's bundle: what was known of it before tuning, and what came of that.

A plan makes one too, of the longest that may come, so that nothing is tuned whose bundle could not be written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from infra.errors import BundleError
from task_specs.audio_policy import AudioPolicy
from task_specs.example import SPLITS, Split
from workers.bundle.manifest import (
    FORMAT_VERSION,
    ONE_PROMPT_FORMAT,
    BackboneIdentity,
    BundleManifest,
    Calibration,
    Data,
    Inference,
    Metric,
    Prompt,
    Provenance,
    Slot,
    Spread,
    Task,
)
from workers.evaluation.metrics import Figures, Predictions
from workers.prompting.prompt import PromptShape
from workers.tuning.lane_spec import LaneSpec
from workers.untrusted.fault_text import faults

_LONGEST: Final = 2.2250738585072014e-308
"""No number takes more characters, but for a sign."""


class TaskSections(BaseModel):
    """The sections of a manifest that are known before tuning, and the licence of the data, which the card says."""

    model_config = ConfigDict(frozen=True)

    task: Task
    backbone: BackboneIdentity
    audio: AudioPolicy
    sample_rate: int
    """In Hz, of the waveforms that the tokenizer takes."""
    data: Data
    provenance: Provenance
    licence: str = ""


@dataclass(frozen=True)
class Tuned:
    """What came of tuning.

    Attributes:
        shape: sizes of the kept prompt.
        results: figures by split and name.
        temperatures: by which the scores of each slot are divided; none where they are not calibrated.
        verbalizer_units: for a fixed verbalizer, the vocabulary entry of each class of each slot.
        sweep: what was tried, where there was a choice.
        members: seeds of the prompts of an ensemble; none for one prompt.
        run_id: MLflow run of the lane; empty where MLflow was not reached.
    """

    shape: PromptShape
    results: Mapping[Split, Mapping[str, Spread]]
    temperatures: Sequence[float] = ()
    verbalizer_units: tuple[tuple[int, ...], ...] | None = None
    sweep: Mapping[str, JsonValue] = field(default_factory=dict)
    members: tuple[int, ...] = ()
    run_id: str = ""

    @classmethod
    def longest(cls, spec: LaneSpec, shape: PromptShape, points: Sequence[str], members: Sequence[int] = ()) -> Tuned:
        """What gives the longest manifest that tuning a lane may lead to.

        Args:
            spec: of the lane.
            shape: sizes of its prompt.
            points: names of what a sweep tries; one without a sweep.
            members: seeds of an ensemble.
        """
        spread = Spread(value=-_LONGEST, mean=-_LONGEST, std=_LONGEST, seeds=10_000, interval=(-_LONGEST, -_LONGEST))
        temperatures = [_LONGEST] * len(shape.classes)
        # An example of each of two classes has every figure.
        two = Predictions(
            [np.zeros((2, classes), np.float32) for classes in shape.classes],
            np.repeat(np.arange(2)[:, None], len(shape.classes), axis=1),
        )
        names = Figures(two, positive=spec.positive_class, temperatures=[1.0] * len(shape.classes))()
        last = shape.vocabulary
        units = tuple(tuple(range(last - classes, last)) for classes in shape.classes)
        return cls(
            shape=shape,
            results={split: dict.fromkeys(names, spread) for split in SPLITS[1:]},
            temperatures=temperatures,
            verbalizer_units=units if shape.one_unit_a_class else None,
            sweep=sweep_section(points[0], 10_000, dict.fromkeys(points, -_LONGEST)),
            members=tuple(members),
            run_id="f" * 32,
        )


def task_manifest(sections: TaskSections, spec: LaneSpec, tuned: Tuned) -> BundleManifest:
    """The manifest of a lane's prompt, without files.

    Raises:
        BundleError: a section holds what a bundle cannot.
    """
    shape = tuned.shape
    try:
        return BundleManifest(
            format_version=FORMAT_VERSION if tuned.members else ONE_PROMPT_FORMAT,
            task=sections.task,
            slots=tuple(Slot(name=slot.name, labels=slot.labels) for slot in spec.slots),
            metric=Metric(name=spec.metric, positive=spec.positive),
            results={split: dict(figures) for split, figures in tuned.results.items()},
            prompt=Prompt(
                length=shape.length,
                layers=shape.layers,
                dim=shape.dim,
                vocabulary=shape.vocabulary,
                verbalizer=spec.recipe.verbalizer,
                special_rows=shape.special_rows,
                reading=shape.reading,
                verbalizer_units=tuned.verbalizer_units,
                members=tuned.members or None,
            ),
            recipe=spec.recipe.identity() | ({"sweep": dict(tuned.sweep)} if tuned.sweep else {}),
            calibration=Calibration(temperatures=tuple(tuned.temperatures)) if tuned.temperatures else None,
            seed=tuned.members[0] if tuned.members else spec.seed,
            backbone=sections.backbone,
            inference=Inference(
                sample_rate=sections.sample_rate,
                audio=sections.audio,
                separator_prosody=spec.recipe.separator_prosody,
            ),
            data=sections.data,
            provenance=sections.provenance.model_copy(update={"run_id": tuned.run_id}),
        )
    except ValidationError as error:
        what = faults(error, whole="the manifest")
        raise BundleError(f"{spec.task}: a bundle cannot hold it ({what}); correct the task spec") from error


def sweep_section(chosen: str, seeds: int, tried: Mapping[str, float | None]) -> dict[str, JsonValue]:
    """What was tried, where there was a choice.

    Args:
        chosen: name of the best point.
        seeds: how many each point was tuned with.
        tried: of each point the metric on validation, or ``None`` for one that was left out.
    """
    return {} if len(tried) == 1 else {"chosen": chosen, "seeds": seeds, "valid": dict(tried)}
