"""A gang: lanes that share each forward pass of the frozen LM and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from workers.backbone.packing import upload
from workers.backbone.unit_lm import UnitLM
from workers.precision import Precision, autocast
from workers.prompting.examples import SplitExamples
from workers.prompting.lane import BEGIN_OUTPUT, END_OUTPUT, SPECIAL_OUTPUTS, Lane, Progress
from workers.prompting.lane_adam import LaneAdam
from workers.prompting.loss import paper_loss, separator_loss
from workers.prompting.metrics import Predictions, measure
from workers.prompting.prompt import KEYS, SEPARATORS, VALUES, rate_scales, verbalizer_name
from workers.prompting.prompted_pass import PromptRows, PromptTensors, prompted_logits
from workers.prompting.verbalizer import class_scores

EVALUATION_ROWS = 256


@dataclass(frozen=True)
class Evaluation:
    """What one lane learned about itself.

    Attributes:
        lane: its place in the gang.
        step: optimizer step.
        losses: training loss by optimizer step since the last evaluation.
        rate: learning rate of the last step.
        figures: on the validation examples.
        best: whether they are the best so far.
    """

    lane: int
    step: int
    losses: list[tuple[int, float]]
    rate: float
    figures: dict[str, float]
    best: bool


class Gang:
    """Tunes its lanes together until each has stopped.

    Args:
        lm: the frozen LM, on its device, in evaluation mode.
        lanes: the lanes; each keeps its own data, schedule, random stream and early stop.
        precision: of the LM's matrix products.
    """

    def __init__(self, lm: UnitLM, lanes: Sequence[Lane], *, precision: Precision = "auto") -> None:
        self.lm, self.lanes, self.precision = lm, list(lanes), precision
        self.device = lm.embed.weight.device
        width = max(lane.shape.size for lane in lanes)
        recipes = [lane.spec.recipe for lane in lanes]
        values = torch.stack([F.pad(lane.initial, (0, width - lane.shape.size)) for lane in lanes])
        scales = torch.stack(
            [
                F.pad(rate_scales(lane.shape, recipe), (0, width - lane.shape.size))
                for lane, recipe in zip(lanes, recipes, strict=True)
            ]
        )
        self.adam = LaneAdam(
            values.to(self.device),
            scales=scales.to(self.device),
            betas=torch.tensor([[recipe.adam_beta1, recipe.adam_beta2] for recipe in recipes], device=self.device),
            clip_norms=torch.tensor([recipe.clip_norm for recipe in recipes], device=self.device),
        )
        self.best = self.adam.values.clone()
        self._losses: list[list[tuple[int, Tensor]]] = [[] for _ in lanes]  # since each lane's last evaluation

    @property
    def active(self) -> list[int]:
        """Lanes that have not stopped."""
        return [index for index, lane in enumerate(self.lanes) if lane.active]

    def run_to_evaluation(self) -> list[Evaluation]:
        """Take steps until a lane is due for evaluation, and evaluate those that are; empty when all have stopped."""
        while active := self.active:
            self._advance(active)
            due = [index for index in active if self.lanes[index].evaluation_due]
            if due:
                return [self._evaluate(index) for index in due]
        return []

    def predict(self, index: int, examples: SplitExamples, *, best: bool) -> Predictions:
        """Class scores of one lane's prompt, the present or the best one, on a split."""
        lane = self.lanes[index]
        flat = (self.best if best else self.adam.values)[index]
        scores = [np.empty((len(examples), classes), dtype=np.float32) for classes in lane.shape.classes]
        order = np.argsort(examples.units.lengths, kind="stable")
        with torch.no_grad():
            for rows in np.array_split(order, max(1, -(-len(order) // EVALUATION_ROWS))):
                [logits] = self._logits([lane], [self._tensors(lane, flat)], [lane.rows(examples, rows)])
                for slot, slot_scores in enumerate(self._scores(lane, flat, logits)):
                    scores[slot][rows] = slot_scores.cpu().numpy()
        return Predictions(scores, examples.labels)

    def save(self, directory: Path) -> None:
        """Everything a resumed gang needs, without pickling."""
        tensors = {
            "values": self.adam.values,
            "first": self.adam.first,
            "second": self.adam.second,
            "steps": self.adam.steps,
            "best": self.best,
        }
        tensors |= {f"generator.{index}": lane.generator.get_state() for index, lane in enumerate(self.lanes)}
        save_file(
            {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
            directory / "gang.safetensors",
        )
        saved = [
            {"progress": asdict(lane.progress), "losses": [(step, float(loss)) for step, loss in losses]}
            for lane, losses in zip(self.lanes, self._losses, strict=True)
        ]
        (directory / "gang.json").write_text(json.dumps(saved))

    def load(self, directory: Path) -> None:
        """Continue where ``save`` was called."""
        tensors = load_file(directory / "gang.safetensors")
        self.adam.values = tensors["values"].to(self.device)
        self.adam.first, self.adam.second = (
            tensors["first"].to(self.device),
            tensors["second"].to(self.device),
        )
        self.adam.steps, self.best = tensors["steps"].to(self.device), tensors["best"].to(self.device)
        saved: list[dict[str, Any]] = json.loads((directory / "gang.json").read_text())
        self._losses = [[(step, torch.tensor(loss)) for step, loss in entry["losses"]] for entry in saved]
        for index, (lane, entry) in enumerate(zip(self.lanes, saved, strict=True)):
            progress = entry["progress"]
            score = progress.pop("best_score")
            lane.progress = Progress(best_score=None if score is None else (score[0], score[1]), **progress)
            lane.generator.set_state(tensors[f"generator.{index}"])

    def _advance(self, active: list[int]) -> None:
        """One optimizer step of the active lanes, one forward and one backward pass for all."""
        lanes = [self.lanes[index] for index in active]
        rows = upload(np.array(active), self.device)
        flats = self.adam.values[rows].requires_grad_()
        groups, labels = zip(*(self._training_rows(lane) for lane in lanes), strict=True)
        dropped = [self._drop_prompt(lane, flat) for lane, flat in zip(lanes, flats, strict=True)]
        tensors = [self._tensors(lane, flat) for lane, flat in zip(lanes, dropped, strict=True)]
        logits = self._logits(lanes, tensors, groups)
        losses = [
            self._loss(lane, flat, lane_logits, lane_labels, group)
            for lane, flat, lane_logits, lane_labels, group in zip(lanes, flats, logits, labels, groups, strict=True)
        ]
        # Each loss depends on its own lane's numbers alone, so the gradient of the sum is every lane's own.
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        assert flats.grad is not None  # noqa: S101
        rates = upload(np.array([lane.rate(lane.progress.step) for lane in lanes], dtype=np.float32), self.device)
        self.adam.step(rows, flats.grad, rates)
        for index, lane, loss in zip(active, lanes, losses, strict=True):
            lane.progress.step += 1
            self._losses[index].append((lane.progress.step, loss.detach()))

    def _evaluate(self, index: int) -> Evaluation:
        lane = self.lanes[index]
        slots = [slot.name for slot in lane.spec.slots]
        figures = measure(self.predict(index, lane.selection, best=False), slots)
        best = lane.judge(figures)
        if best:
            self.best[index] = self.adam.values[index]
        losses = [(step, float(loss)) for step, loss in self._losses[index]]
        self._losses[index].clear()
        step = lane.progress.step
        return Evaluation(index, step, losses, lane.rate(step - 1), figures, best)

    def _logits(
        self, lanes: Sequence[Lane], tensors: Sequence[PromptTensors], groups: Sequence[PromptRows]
    ) -> list[Tensor]:
        """For each lane the scores that its verbalizer reads, [rows, reads, shape.vocabulary]."""
        with autocast(self.precision, self.device):
            outputs = prompted_logits(self.lm, tensors, groups)
        return [scores[..., : lane.shape.vocabulary] for lane, scores in zip(lanes, outputs, strict=True)]

    @staticmethod
    def _tensors(lane: Lane, flat: Tensor) -> PromptTensors:
        views = lane.shape.views(flat)
        return PromptTensors(views[KEYS], views[VALUES], views[SEPARATORS])

    def _drop_prompt(self, lane: Lane, flat: Tensor) -> Tensor:
        """Dropout on single numbers of the key and value vectors, one mask for the whole batch."""
        rate = lane.spec.recipe.dropout
        if not rate:
            return flat
        kept = torch.rand(lane.shape.prefix_size, generator=lane.generator) >= rate
        mask = F.pad(kept.float() / (1 - rate), (0, len(flat) - len(kept)), value=1.0)
        return flat * upload(mask.numpy(), self.device)

    def _training_rows(self, lane: Lane) -> tuple[PromptRows, NDArray[np.int64]]:
        """The lane's next batch: its rows, and class numbers, int64 [rows, slots]."""
        train = lane.examples.splits["train"]
        chosen = lane.batches[lane.progress.step]
        labels = train.labels[chosen]
        fed = None if lane.fed_tokens is None else lane.fed_tokens[labels[:, -1]]
        return lane.rows(train, chosen, fed=fed), labels

    @staticmethod
    def _scores(lane: Lane, flat: Tensor, logits: Tensor) -> list[Tensor]:
        """Class scores of each slot from logits at the separators, [rows, slots, vocabulary]."""
        shape, views = lane.shape, lane.shape.views(flat)
        if shape.linear:
            return [
                class_scores(logits[:, slot], matrix=views[verbalizer_name(slot)], special_rows=shape.special_rows)
                for slot in range(len(shape.classes))
            ]
        assert lane.class_tokens is not None  # noqa: S101
        return [
            class_scores(logits[:, slot], tokens=upload(tokens.numpy(), logits.device))
            for slot, tokens in enumerate(lane.class_tokens)
        ]

    def _loss(self, lane: Lane, flat: Tensor, logits: Tensor, labels: NDArray[np.int64], group: PromptRows) -> Tensor:
        targets = upload(labels, self.device)
        if lane.spec.recipe.loss == "separators":
            scores = self._scores(lane, flat, logits)
            return separator_loss(scores, targets, label_smoothing=lane.spec.recipe.label_smoothing)
        return self._paper_loss(lane, flat, logits, targets, group)

    def _paper_loss(self, lane: Lane, flat: Tensor, logits: Tensor, labels: Tensor, group: PromptRows) -> Tensor:
        """Reads are: last unit, separators, label. They predict: ``<s>``, the labels, ``</s>``."""
        shape, config = lane.shape, self.lm.config
        rows, slots = labels.shape
        slot_of_read = [0, *range(slots), slots - 1]
        begin, end = (BEGIN_OUTPUT, END_OUTPUT) if shape.linear else (config.bos, config.eos)
        bos, eos = labels.new_full((rows, 1), begin), labels.new_full((rows, 1), end)
        if shape.linear:
            matrices = [shape.views(flat)[verbalizer_name(slot)] for slot in range(slots)]
            outputs = [F.linear(logits[:, read], matrices[slot]) for read, slot in enumerate(slot_of_read)]
            outputs = [self._drop_scores(lane, output) for output in outputs]
            answers = labels + SPECIAL_OUTPUTS
        else:
            assert lane.class_tokens is not None  # noqa: S101
            outputs = list(logits.unbind(1))
            columns = [
                upload(tokens.numpy(), labels.device)[labels[:, slot]] for slot, tokens in enumerate(lane.class_tokens)
            ]
            answers = torch.stack(columns, dim=1)
        source_tokens = sum(len(tokens) + 1 + group.tail for tokens in group.tokens)
        return paper_loss(outputs, torch.cat([bos, answers, eos], dim=1), tokens=source_tokens)

    def _drop_scores(self, lane: Lane, scores: Tensor) -> Tensor:
        rate = lane.spec.recipe.dropout
        if not rate:
            return scores
        kept = torch.rand(scores.shape, generator=lane.generator) >= rate
        return scores * upload((kept.float() / (1 - rate)).numpy(), scores.device)
