"""A small convolutional network over units: what they tell to a classifier of a prompt's size, the units' own ceiling.

Kim, Convolutional neural networks for sentence classification, 2014, arXiv 1408.5882, with two layers and pooling by
mean beside maximum.

Legend of shapes: B rows, T units of the longest of them, E embedding, C = 2 E channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from infra.errors import TaskSpecError
from task_specs.example import SPLITS, Split
from workers.baselines.baseline import BaselineTask, Fitted, predictions_of
from workers.evaluation.metrics import Predictions
from workers.prompting.examples import Batches

MOST_TRAINED: Final = 150_000
"""Numbers of a prompt for an LM of 12 layers of 1024, about."""
WIDEST: Final = 48
KERNEL: Final = 5
PADDING, UNKNOWN = 0, 1
"""Entries of the embedding that are no units: behind a row's end, and a unit that is hidden or was never trained on."""

BATCH: Final = 64
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 0.02
EPOCHS, LEAST_STEPS = 20, 600
"""At most so many epochs, or steps where these are more."""
PATIENCE: Final = 5
"""Evaluations without an improvement on validation, after which it stops; there is one each epoch, or 30 steps."""
STEPS_PER_EVALUATION: Final = 30
HIDDEN, REPLACED = 0.1, 0.05
"""Shares of the units of a training row that are hidden, and that are replaced by another one."""
DROPOUT: Final = 0.3
TOKENS: Final = 16_384
"""Units of a pass without gradients, padding included."""


def width(units: int, classes: int) -> int:
    """The widest embedding, up to ``WIDEST``, with which the network has at most ``MOST_TRAINED`` numbers; 0 where
    there is none.

    Args:
        units: different units.
        classes: of all slots together.
    """
    return next((size for size in range(WIDEST, 0, -1) if parameters(units, classes, size) <= MOST_TRAINED), 0)


def parameters(units: int, classes: int, embedding: int) -> int:
    """Trained numbers of a network; the entry for padding is not trained."""
    channels = 2 * embedding
    convolutions = (embedding + channels) * channels * KERNEL + 2 * channels
    return (units + 1) * embedding + convolutions + (2 * channels + 1) * classes


class UnitCNN(nn.Module):
    """Units to class scores.

    Args:
        units: different units.
        classes: of each slot.
        embedding: E.
    """

    def __init__(self, units: int, classes: Sequence[int], embedding: int) -> None:
        super().__init__()
        self._classes, channels = list(classes), 2 * embedding
        self.embed = nn.Embedding(units + 2, embedding, padding_idx=PADDING)
        self.first = nn.Conv1d(embedding, channels, KERNEL, padding="same")
        self.second = nn.Conv1d(channels, channels, KERNEL, padding="same")
        self.read = nn.Linear(2 * channels, sum(classes))

    def forward(self, tokens: Tensor) -> Sequence[Tensor]:
        """Scores of each slot, float32 [B, classes of the slot].

        Args:
            tokens: int64 [B, T], ``PADDING`` behind each row's end.
        """
        there = (tokens != PADDING)[:, None]  # [B, 1, T]
        x = F.dropout(self.embed(tokens), DROPOUT / 3, self.training).transpose(1, 2)  # [B, E, T]
        # What lies behind a row's end is zero for every convolution, so that it does not depend on its neighbours.
        x = F.gelu(self.first(x)) * there  # [B, C, T]
        x = (x + F.gelu(self.second(x))) * there
        highest = x.masked_fill(~there, -math.inf).amax(dim=2)
        mean = x.sum(dim=2) / there.sum(dim=2)
        pooled = F.dropout(torch.cat([highest, mean], dim=1), DROPOUT, self.training)  # [B, 2 C]
        scores: Sequence[Tensor] = self.read(pooled).split(self._classes, dim=1)
        return scores


def cnn(task: BaselineTask) -> Fitted:
    """Train with AdamW on noised units, and keep the evaluation that is best on validation.

    Durations and F0 are not looked at. Everything is drawn with the task's seed: on one machine the same task gives the
    same scores.

    Raises:
        TaskSpecError: there are so many units and classes that no network is small enough.
    """
    device = torch.device(task.device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(task.spec.seed)
        return _Training(task, device).run()


class _Training:
    """The network of one task."""

    def __init__(self, task: BaselineTask, device: torch.device) -> None:
        self._task, self._device = task, device
        self._splits = task.examples.splits
        self._units = np.unique(self._splits["train"].units.flat)
        self._entries = {split: self._entry(part.units.flat) for split, part in self._splits.items()}
        size = width(len(self._units), sum(task.classes))
        if not size:
            raise TaskSpecError(
                f"{task.spec.task}: a cnn of {MOST_TRAINED:,} numbers has no room for {len(self._units):,} units and "
                f"{sum(task.classes):,} classes; leave it out of the job's baselines"
            )
        # Drawn on the CPU, so that it begins alike everywhere.
        self._network = UnitCNN(len(self._units), task.classes, size).to(device)
        self._rng = np.random.default_rng(task.spec.seed)

    def run(self) -> Fitted:
        train = self._splits["train"]
        batches = Batches(train.units.lengths, batch_size=BATCH, seed=self._task.spec.seed)
        steps = max(EPOCHS * batches.per_epoch, LEAST_STEPS)
        every = max(batches.per_epoch, STEPS_PER_EVALUATION)
        optimizer = torch.optim.AdamW(self._network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
        best, best_score, best_step = self._weights(), (-math.inf, -math.inf), 0
        for step in range(1, steps + 1):
            self._step(batches[step - 1], optimizer)
            schedule.step()
            if step % every and step < steps:
                continue
            score = self._task.score(self._predictions("valid"))
            if score > best_score:
                best, best_score, best_step = self._weights(), score, step
            elif step - best_step >= PATIENCE * every:
                break
        self._network.load_state_dict(best)
        return Fitted(
            {split: self._predictions(split) for split in SPLITS[1:]},
            trained=parameters(len(self._units), sum(self._task.classes), self._network.embed.embedding_dim),
            settings={"steps": step, "best_step": best_step, "embedding": self._network.embed.embedding_dim},
        )

    def _step(self, rows: NDArray[np.int64], optimizer: torch.optim.Optimizer) -> None:
        train = self._splits["train"]
        self._network.train()
        labels = torch.from_numpy(train.labels[rows]).to(self._device)
        tokens = torch.from_numpy(self._noised(self._tokens("train", rows))).to(self._device)
        losses = [F.cross_entropy(scores, labels[:, slot]) for slot, scores in enumerate(self._network(tokens))]
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def _predictions(self, split: Split) -> Predictions:
        """Rows of similar lengths pass together."""
        part = self._splits[split]
        self._network.eval()
        scores = [np.zeros((len(part), classes), np.float32) for classes in self._task.classes]
        order = np.argsort(part.units.lengths, kind="stable")
        at = 0
        while at < len(order):
            # As many of the following rows as fit, each padded to the longest, which is the last.
            sizes = np.arange(1, len(order) - at + 1) * part.units.lengths[order[at:]]
            count = max(1, int(np.searchsorted(sizes, TOKENS, side="right")))
            rows = order[at : at + count]
            with torch.inference_mode():
                found = self._network(torch.from_numpy(self._tokens(split, rows)).to(self._device))
            for slot, values in enumerate(found):
                scores[slot][rows] = values.cpu().numpy()
            at += count
        return predictions_of(part, scores)

    def _tokens(self, split: Split, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Entries of the embedding, int64 [B, T]."""
        units, flat = self._splits[split].units, self._entries[split]
        places = np.arange(int(units.lengths[rows].max()))
        inside = places < units.lengths[rows][:, None]
        found = flat[np.minimum(units.offsets[rows][:, None] + places, len(flat) - 1)]
        return np.where(inside, found, PADDING)

    def _entry(self, units: NDArray[np.int16]) -> NDArray[np.int64]:
        """Entry of the embedding of each unit, int64 [units]."""
        found = np.searchsorted(self._units, units)
        known = self._units[np.minimum(found, len(self._units) - 1)] == units
        return np.where(known, found + 2, UNKNOWN)

    def _noised(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same with some units hidden and some replaced."""
        drawn = self._rng.random(tokens.shape)
        other = self._rng.integers(2, len(self._units) + 2, size=tokens.shape)
        noised = np.where(drawn < HIDDEN, UNKNOWN, np.where(drawn < HIDDEN + REPLACED, other, tokens))
        return np.where(tokens == PADDING, PADDING, noised)

    def _weights(self) -> Mapping[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._network.state_dict().items()}
