"""Losses by hand, and the reference's loss and gradients through a whole optimizer step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.fixtures.gold_prompts import Kind, gold_gradients, gold_prompt, gold_units
from tests.fixtures.golden import expected, toy_lm
from tests.fixtures.plain_lm import plain_logits
from tests.fixtures.shared_data import shared_folder
from tests.fixtures.tuning import lane_spec, make_lane, tiny_lm
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.prompting.objectives.paper import paper_loss
from workers.prompting.objectives.separators import separator_loss
from workers.speech.sequences import UnitSequences
from workers.tuning.step.gang import Gang
from workers.tuning.step.lane import Lane


@pytest.mark.parametrize("kind", ["verb", "noverb"])
def test_paper_loss_and_gradients_match_the_reference(kind: Kind) -> None:
    """The golden rows with several labels do not compare: the reference reads them all after one separator."""
    folder = shared_folder("golden")
    gold = expected(folder / f"prompted/expected_{kind}.npz")
    lm = toy_lm(folder / "gslm")
    rows = SplitExamples(UnitSequences.of(tokens - 4 for tokens in gold_units(gold)), gold["class_index"][:, None])
    # One step on all rows; no clipping, so that Adam's first moment holds the gradient.
    spec = lane_spec(
        (7,),
        name="paper",
        verbalizer="linear" if kind == "verb" else "frequency",
        steps=1,
        evaluate_every=1,
        batch_size=len(rows),
        dropout=0.0,
        clip_norm=1e9,
    )
    examples = TaskExamples({"train": rows, "valid": rows, "test": rows})
    lane = Lane(spec, examples=examples, lm=lm, unit_tokens=np.arange(100) + 4)
    # The golden rows are a part of the reference's data, from which alone these do not follow.
    lane.fed_tokens = gold["label_token_ids"]
    if kind == "noverb":
        lane.mapped_units = [gold["label_token_ids"] - 4]
    state = lane.initial_state()
    for name, tensor in lane.shape.views(state.values).items():
        tensor.copy_(gold_prompt(folder / "prompted", kind)[name])

    gang = Gang(lm, [], precision="fp32")
    gang.join(lane, state)
    [evaluation] = gang.run_to_evaluation().values()

    tokens = int(gold["ntokens"])
    [(_, loss)] = evaluation.losses
    assert loss * tokens == pytest.approx(float(gold["loss_sum"]), abs=5e-4)
    assert loss / math.log(2) == pytest.approx(float(gold["loss_bits_per_token"]), rel=1e-4)
    found = lane.shape.views(gang.adam.exp_avg[0] / (1 - spec.recipe.adam_beta1) * tokens)
    wanted = gold_gradients(folder / "prompted", kind)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        largest = float(gradient.abs().max())
        assert largest > 1e-3
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=1e-4 * max(1.0, largest), err_msg=name)


@pytest.mark.parametrize("verbalizer", ["linear", "random"])
def test_paper_loss_of_several_slots_by_hand(verbalizer: str) -> None:
    """Rows are ``</s>``, units, a separator per slot, and the token of the last slot's label."""
    lm = tiny_lm()
    lane = make_lane(
        lm, (3, 2), name="paper", verbalizer=verbalizer, steps=1, evaluate_every=1, batch_size=24, dropout=0.0
    )
    tensors = {name: tensor.double().numpy() for name, tensor in lane.shape.views(lane.initial_state().values).items()}
    train = lane.examples.splits["train"]
    assert lane.fed_tokens is not None
    loss, tokens = 0.0, 0
    for row, labels in enumerate(train.labels):
        source = np.array([lm.config.eos, *(train.units[row] + 4)])
        # The fed token stands behind the separators, so it is given as a vector like them.
        fed = lm.embed.weight[lane.fed_tokens[labels[-1]]].double().numpy()
        after = np.concatenate([tensors["separators"], fed[None]])
        logits = plain_logits(
            lm, source, keys=tensors["prompt.keys"], values=tensors["prompt.values"], separators=after
        )
        outputs, targets = list(logits[-4:]), [lm.config.bos, *labels, lm.config.eos]
        for slot in (0, 1):
            if lane.mapped_units is None:
                targets[1 + slot] = 4 + labels[slot]
            else:
                targets[1 + slot] = 4 + lane.mapped_units[slot][labels[slot]]
        if verbalizer == "linear":
            matrices = [tensors["verbalizer.0"], tensors["verbalizer.1"]]
            outputs = [matrices[slot] @ scores for slot, scores in zip((0, 0, 1, 1), outputs, strict=True)]
        loss += sum(np.log(np.exp(out).sum()) - out[target] for out, target in zip(outputs, targets, strict=True))
        tokens += len(source) + 3
    [evaluation] = Gang(lm, [lane], precision="fp32").run_to_evaluation().values()
    assert evaluation.losses[0][1] == pytest.approx(loss / tokens, rel=1e-5)


def test_the_paper_drops_class_scores_too() -> None:
    """At this rate nothing is left, so that all outputs are equally likely."""
    lm = tiny_lm()
    lane = make_lane(lm, (3,), name="paper", dropout=0.999999999, batch_size=24, steps=1, evaluate_every=1)
    units = lane.examples.splits["train"].units
    [evaluation] = Gang(lm, [lane], precision="fp32").run_to_evaluation().values()
    tokens = len(units.flat) + 3 * len(units)
    assert evaluation.losses[0][1] == pytest.approx(3 * len(units) * math.log(4 + 3) / tokens, rel=1e-5)


def test_separator_loss_is_the_mean_over_examples_and_slots() -> None:
    scores = [torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])]
    labels = torch.tensor([[0, 3], [1, 2]])
    first = (math.log(2) + math.log(1 + math.exp(2))) / 2
    assert float(separator_loss(scores, labels)) == pytest.approx((first + math.log(4)) / 2)


def test_label_smoothing_mixes_in_the_uniform_answer() -> None:
    scores, label = torch.tensor([[1.0, -1.0, 0.5]]), torch.tensor([[0]])
    shares = -scores[0].log_softmax(dim=0)
    wanted = 0.9 * float(shares[0]) + 0.1 * float(shares.mean())
    assert float(separator_loss([scores], label, label_smoothing=0.1)) == pytest.approx(wanted)


def test_paper_loss_sums_and_divides_by_all_tokens() -> None:
    outputs = [torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 3.0, 0.0]])]
    wanted = (math.log(2) - float(outputs[1][0].log_softmax(dim=0)[1])) / 10
    assert float(paper_loss(outputs, torch.tensor([[1, 1]]), tokens=10)) == pytest.approx(wanted)
