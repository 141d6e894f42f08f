"""What a lane is made from: its stored examples, and the bundle it begins with."""

from __future__ import annotations

from functools import partial
from weakref import WeakValueDictionary

import numpy as np

from infra.errors import BundleError
from task_specs.prompt_init import BundleInit
from workers.backbone.sharing import SharedLM
from workers.bundle.format import Bundle
from workers.bundle.read import read
from workers.prompting.examples import TaskExamples
from workers.tuning.lane_examples import stored_examples
from workers.tuning.lane_spec import LaneSpec
from workers.tuning.step.lane import Lane
from workers.unit_lm.unit_lm import UnitLM


class LaneSource:
    """Makes lanes; those of one task share their examples in memory, for as long as there are any.

    Args:
        lm: the LM, on its device.
        shared: what it was attached from.
    """

    def __init__(self, lm: UnitLM, shared: SharedLM) -> None:
        self._lm, self._fingerprint = lm, shared.fingerprint
        self._unit_tokens = np.array(shared.unit_tokens, dtype=np.int64)
        self._examples: WeakValueDictionary[str, TaskExamples] = WeakValueDictionary()

    def lane(self, spec: LaneSpec) -> Lane:
        """Its spec with its data; the bundle that it begins with is read when its initial state is asked for.

        Raises:
            InputError: its data or its recipe cannot be used.
            StorageError: they cannot be read.
        """
        init = spec.recipe.prompt_init
        examples = self._examples.get(spec.examples_digest)
        if examples is None:
            examples = self._examples[spec.examples_digest] = stored_examples(spec)
        return Lane(
            spec,
            examples=examples,
            lm=self._lm,
            unit_tokens=self._unit_tokens,
            donor=partial(self._donor, init) if isinstance(init, BundleInit) else None,
        )

    def _donor(self, init: BundleInit) -> Bundle:
        bundle = read(init.bundle)
        if bundle.manifest.version != init.version:
            raise BundleError(f"{init.bundle}: no longer version {init.version}; run the job again")
        if bundle.manifest.backbone.unit_lm != self._fingerprint:
            raise BundleError(f"{init.bundle}: tuned on another unit LM; name a bundle of this backbone")
        config = self._lm.config
        bundle.check_sizes(layers=config.layers, dim=config.dim, outputs=config.outputs)
        return bundle
