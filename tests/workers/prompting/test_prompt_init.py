"""Where prompts begin: the LM's own states, and the prompts of bundles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from infra.errors import BundleError, DatasetError
from task_specs.prompt_init import BundleInit
from tests.fixtures.bundles import random_bundle
from tests.fixtures.plain_lm import plain_attention_inputs
from tests.fixtures.tuning import TINY, UNIT_TOKENS, UNITS, lane_spec, make_lane, tiny_lm, toy_examples
from workers.bundle.format import Bundle
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.prompting.prompted_pass import KEYS, SEPARATORS, VALUES
from workers.speech.sequences import UnitSequences
from workers.tuning.step.lane import Lane

LM = tiny_lm()


def initial(lane: Lane) -> dict[str, torch.Tensor]:
    return lane.shape.views(lane.initial_state().values)


def states_of(tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """What every layer's attention sees of a row without a prompt, [layers, 1 + T, D]."""
    return plain_attention_inputs(LM, np.concatenate([[TINY.start], tokens]))


def test_a_prompt_without_vectors_begins_without_units() -> None:
    assert initial(make_lane(LM, prompt_length=0, prompt_init="units"))[KEYS].numel() == 0


@pytest.mark.parametrize("length", [4, 30])
def test_units_are_what_the_layers_see_of_training_rows(length: int) -> None:
    """30 is more than there are rows, so some are drawn from twice."""
    lane = make_lane(LM, prompt_length=length, prompt_init="units")
    tensors = initial(lane)
    assert torch.equal(tensors[KEYS], tensors[VALUES])
    train = lane.examples.splits["train"].units
    rows = [states_of(UNIT_TOKENS[train[row]])[:, 1:] for row in range(len(train))]
    every = np.concatenate(rows, axis=1)  # [layers, tokens, D]
    for vector in range(length):
        wanted = tensors[KEYS][:, vector].numpy()
        distance = np.abs(every - wanted[:, None]).max(axis=(0, 2))
        assert distance.min() < 1e-5, "one token, the same in all layers"
    chosen = {tuple(row.tolist()) for row in tensors[KEYS][0].round(decimals=4)}
    assert len(chosen) > min(length, len(train)) // 2


def test_units_are_drawn_with_the_seed_and_change_nothing_else() -> None:
    first, again, other = (initial(make_lane(LM, seed=seed, prompt_init="units")) for seed in (0, 0, 1))
    assert torch.equal(first[KEYS], again[KEYS])
    assert not torch.equal(first[KEYS], other[KEYS])
    normal = initial(make_lane(LM))
    assert torch.equal(first[SEPARATORS], normal[SEPARATORS])
    assert not first["verbalizer.0"].any()


def donor(**changes: object) -> Bundle:
    sizes = {"layers": TINY.layers, "length": 3, "dim": TINY.dim, "vocabulary": TINY.vocabulary}
    kind = "separator" if changes.get("verbalizer", "linear") != "linear" else "pooled"
    return random_bundle(**{"reading": kind, **sizes, **changes})  # type: ignore[arg-type]


def begun_with(bundle: Bundle, labels: tuple[tuple[str, ...], ...], **recipe: Any) -> dict[str, torch.Tensor]:
    spec = lane_spec([len(slot) for slot in labels], prompt_init=BundleInit(bundle="/b", version="0" * 16), **recipe)
    slots = tuple(slot.model_copy(update={"labels": names}) for slot, names in zip(spec.slots, labels, strict=True))
    lane = Lane(
        spec.model_copy(update={"slots": slots}),
        examples=toy_examples([len(slot) for slot in labels]),
        lm=LM,
        unit_tokens=UNIT_TOKENS,
        donor=lambda: bundle,
    )
    return initial(lane)


def test_a_bundle_gives_prompt_separators_and_a_verbalizer_of_the_same_labels() -> None:
    bundle = donor()
    same = begun_with(bundle, (("no", "yes"),))
    assert {name: tuple(tensor.shape) for name, tensor in same.items()} == bundle.manifest.tensor_shapes
    for name, tensor in bundle.tensors.items():
        assert np.array_equal(same[name].numpy(), tensor), name
    other = begun_with(bundle, (("yes", "no"),))
    assert np.array_equal(other[KEYS].numpy(), bundle.tensors["prompt.keys"])
    assert not other["verbalizer.0"].any(), "other labels begin with an untrained verbalizer"


def test_separators_go_slot_by_slot_and_the_last_one_to_the_rest() -> None:
    two = donor(slots={"a": ("no", "yes"), "b": ("x", "y", "z")})
    given = two.tensors["separators"]
    three = begun_with(two, (("no", "yes"), ("x", "z"), ("u", "v")))
    assert np.array_equal(three[SEPARATORS].numpy(), given[[0, 1, 1]])
    assert np.array_equal(three["verbalizer.0"].numpy(), two.tensors["verbalizer.0"])
    assert not three["verbalizer.1"].any()
    one = begun_with(two, (("x", "y", "z"),))
    assert np.array_equal(one[SEPARATORS].numpy(), given[:1])
    fixed = begun_with(donor(verbalizer="random"), (("no", "yes"),))
    assert not fixed["verbalizer.0"].any()
    assert "verbalizer.0" not in begun_with(two, (("no", "yes"),), verbalizer="random")


def test_a_bundle_of_another_length_is_refused() -> None:
    with pytest.raises(BundleError, match=r"a prompt of length 4, not 3; set recipe\.prompt_length to 4"):
        begun_with(donor(length=4), (("no", "yes"),))


def test_examples_that_would_bring_down_the_pass_are_refused() -> None:
    sound = toy_examples((3,))
    test = sound.splits["test"]

    def tuned(part: SplitExamples) -> None:
        make_lane(LM, examples=TaskExamples({**sound.splits, "test": part}))

    high = UnitSequences.of([[UNITS], *(test.units[row] for row in range(1, len(test)))])
    with pytest.raises(DatasetError, match=f"toy: split test holds units 0 to {UNITS}"):
        tuned(SplitExamples(high, test.labels))
    with pytest.raises(DatasetError, match="holds a class that the task has not"):
        tuned(SplitExamples(test.units, test.labels + 1))
    with pytest.raises(DatasetError, match=r"split test has .* labels for 0 rows"):
        tuned(SplitExamples(UnitSequences.of([]), test.labels))
