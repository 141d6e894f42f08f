"""One forward pass of the frozen LM over rows of several prompts: all that tuning and classifying share.

A row is the LM's start token, ``u1 .. uT`` and then one separator per slot of its task; recipe ``paper`` also appends
the last label's token while tuning. Nothing is generated: labels are read at the separators, all slots in one pass.

A multi-stream LM also hears at each position the duration and F0 of the unit before it. So the first separator stands
where the last unit's are due, and takes them unless the recipe says otherwise; what follows has no prosody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from workers.prompting.readings.listening import BoundReading, Listening
from workers.prompting.readings.reading import Reading, UtteranceReading
from workers.speech.unit_prosody import UnitProsody
from workers.unit_lm.engine.packing import Packing, kernel_size, upload
from workers.unit_lm.engine.rows import Prefix, Reads, Rows
from workers.unit_lm.unit_lm import UnitLM

KEYS: Final = "prompt.keys"
VALUES: Final = "prompt.values"
SEPARATORS: Final = "separators"


@dataclass(frozen=True)
class PromptTensors:
    """One prompt as the pass needs it.

    Attributes:
        keys, values: [layers, P, D].
        separators: [slots, D].
        bound: its reading of the whole utterance; ``None``: it reads the scores at the separators alone.
        scores: how many of the LM's scores its verbalizer reads, the units' first; ``None``: all.
        projected: whether keys and values went through the layers' projections already.
    """

    keys: Tensor
    values: Tensor
    separators: Tensor
    bound: BoundReading | None = None
    scores: int | None = None
    projected: bool = False

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], reading: Reading, *, scores: int) -> Self:
        """A prompt from its tensors by name."""
        bound = BoundReading(reading, tensors) if isinstance(reading, UtteranceReading) else None
        return cls(tensors[KEYS], tensors[VALUES], tensors[SEPARATORS], bound, scores)

    def project(self, lm: UnitLM) -> PromptTensors:
        """The same prompt with its keys and values projected once for all passes; for prompts that no longer change."""
        keys, values = lm.project(self.keys, self.values)
        return replace(self, keys=keys, values=values, projected=True)


@dataclass(frozen=True)
class PromptRows:
    """The rows that one prompt has in a pass.

    Attributes:
        tokens: token ids of each row's units, int64 [T].
        slots: separators appended to each row.
        labels: token appended after the separators of each row, int64 [rows]; ``None`` for none.
        read_last_unit: whether the position before the first separator is read too.
        prosody: of each row's units, for a multi-stream LM.
        separator_prosody: whether the first separator takes the last unit's prosody.
    """

    tokens: Sequence[NDArray[np.int64]]
    slots: int
    labels: NDArray[np.int64] | None = None
    read_last_unit: bool = False
    prosody: Sequence[UnitProsody] | None = None
    separator_prosody: bool = True

    @property
    def tail(self) -> int:
        """Positions after the units."""
        return self.slots + (self.labels is not None)

    @property
    def reads(self) -> int:
        """Positions read per row; they are the last of the row."""
        return self.tail + self.read_last_unit


@dataclass(frozen=True)
class AssembledRows:
    """The rows of all prompts, laid out for one pass."""

    rows: Rows
    """With any token at the separators, which are vectors."""
    separator_of: Tensor
    """Which separator stands at each of ``rows.vector_at``, counted over all prompts in order, int64."""
    row_prompt: NDArray[np.int64]
    """Prompt of each row, int64 [B], on the host."""
    reads: Reads
    rows_of: list[slice] = field(default_factory=list)
    """Rows of each prompt."""


def assemble(groups: Sequence[PromptRows], *, start: int, device: torch.device | str = "cpu") -> AssembledRows:
    """Lay out the rows of several prompts for one pass; each begins with the token ``start``."""
    widest = max(group.reads for group in groups)
    pieces: list[NDArray[np.int64]] = []
    lengths: list[int] = []
    separator_at: list[NDArray[np.int64]] = []
    separator_of: list[NDArray[np.int64]] = []
    read_at: list[NDArray[np.int64]] = []
    rows_of: list[slice] = []
    prosody: list[UnitProsody | None] = []
    prosody_positions: list[int] = []
    first_separator, place = 0, 0
    for group in groups:
        rows_of.append(slice(len(lengths), len(lengths) + len(group.tokens)))
        prosody += group.prosody or [None] * len(group.tokens)
        for row, tokens in enumerate(group.tokens):
            tail = np.full(group.tail, start, dtype=np.int64)
            if group.labels is not None:
                tail[-1] = group.labels[row]
            pieces += [np.array([start]), tokens, tail]
            length = 1 + len(tokens) + group.tail
            separators = place + 1 + len(tokens) + np.arange(group.slots)
            separator_at.append(separators)
            separator_of.append(first_separator + np.arange(group.slots))
            # Rows with fewer reads than the widest repeat their first one; the caller takes the last ``reads``.
            wanted = np.arange(length - widest, length)
            read_at.append(np.maximum(wanted, length - group.reads))
            lengths.append(length)
            prosody_positions.append(1 + len(tokens) + group.separator_prosody)
            place += length
        first_separator += group.slots
    row_lengths = np.array(lengths, dtype=np.int64)
    offsets = np.stack(read_at)
    starts = np.cumsum(row_lengths) - row_lengths
    prompts = np.repeat(np.arange(len(groups)), [len(group.tokens) for group in groups])

    def put(array: NDArray[np.int64]) -> Tensor:
        return upload(array, device)

    return AssembledRows(
        rows=Rows(
            tokens=put(np.concatenate(pieces)),
            packing=Packing.of(row_lengths, device, spare=kernel_size(place) - place),
            prosody=prosody,
            prosody_positions=np.array(prosody_positions, dtype=np.int64),
            vector_at=put(np.concatenate(separator_at)),
        ),
        separator_of=put(np.concatenate(separator_of)),
        row_prompt=prompts,
        reads=Reads(tokens=put((starts[:, None] + offsets).reshape(-1)), offsets=offsets),
        rows_of=rows_of,
    )


def read_prompts(lm: UnitLM, prompts: Sequence[PromptTensors], groups: Sequence[PromptRows]) -> list[Tensor]:
    """The inputs of the verbalizer at the read positions of every prompt's rows, one pass for all.

    Args:
        lm: the frozen LM.
        prompts: all projected, or none.
        groups: the rows of each prompt.

    Returns:
        For each prompt float32 [rows, reads, V + F]: the V scores of the LM that it reads, and the F features of its
        reading, if any.
    """
    return run_pass(lm, prompts, groups)[0]


def run_pass(
    lm: UnitLM, prompts: Sequence[PromptTensors], groups: Sequence[PromptRows]
) -> tuple[list[Tensor], Listening | None]:
    """As ``read_prompts``, with what has listened to the pass; ``None`` where no prompt listens."""
    laid_out = assemble(groups, start=lm.config.start, device=lm.device)
    rows = laid_out.rows
    separators = torch.cat([prompt.separators for prompt in prompts])
    x = lm.embed_rows(rows, separators.index_select(0, laid_out.separator_of))
    listening = _listening(prompts, groups, laid_out)
    states = lm(
        x,
        rows.packing,
        prefix=_prefix(prompts, laid_out.row_prompt),
        reads=laid_out.reads,
        trained=rows.vector_at,
        listener=None if listening is None else listening.hear,
    )
    logits = lm.logits(states).float().view(len(laid_out.row_prompt), -1, lm.config.outputs)
    pooled = [None] * len(prompts) if listening is None else listening.pooled()
    found = []
    for prompt, group, place, heard in zip(prompts, groups, laid_out.rows_of, pooled, strict=True):
        scores = logits[place, -group.reads :, : prompt.scores]
        if heard is not None:
            scores = torch.cat([scores, heard.float().expand(*scores.shape[:2], -1)], dim=-1)
        found.append(scores)
    return found, listening


def _listening(
    prompts: Sequence[PromptTensors], groups: Sequence[PromptRows], laid_out: AssembledRows
) -> Listening | None:
    """What hears the states of the start token and the units of each row; ``None`` where no prompt listens."""
    bound = [prompt.bound for prompt in prompts]
    if not any(bound):
        return None
    tails = np.repeat([group.tail for group in groups], [len(group.tokens) for group in groups])
    return Listening(
        bound,
        rows_of=laid_out.rows_of,
        heard=laid_out.rows.packing.lengths - tails,
        packing=laid_out.rows.packing,
    )


def _prefix(prompts: Sequence[PromptTensors], row_prompt: NDArray[np.int64]) -> Prefix | None:
    """The prompts side by side; shorter ones are filled up with vectors that nobody sees."""
    lengths = np.array([prompt.keys.shape[1] for prompt in prompts])
    longest = int(lengths.max())
    if not longest:
        return None
    keys, values = (
        torch.stack([F.pad(part, (0, 0, 0, longest - part.shape[1])) for part in parts])
        for parts in ([prompt.keys for prompt in prompts], [prompt.values for prompt in prompts])
    )
    [projected] = {prompt.projected for prompt in prompts}
    return Prefix(keys, values, row_prompt, None if int(lengths.min()) == longest else lengths, projected)
