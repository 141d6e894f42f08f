"""Passes of the LM over unit sequences of any of the loaded tasks, and the class scores that they give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from workers.inference.loaded_prompt import LoadedPrompt
from workers.precision import Precision, autocast
from workers.prompting.prompted_pass import PromptRows, run_pass
from workers.speech.unit_prosody import UnitProsody
from workers.unit_lm.unit_lm import UnitLM

ROWS_PER_PASS = 64


@dataclass(frozen=True)
class Scored:
    """What a pass says of one unit sequence.

    Attributes:
        scores: class scores of each slot, float32 [members, classes].
        parts: of each slot, what each position adds to the class scores, mean over the members, float32 [1 + T,
            classes], the start token first; [0, classes] where the prompt reads the separators alone. Empty where
            nobody asks.
    """

    scores: list[NDArray[np.float32]]
    parts: list[NDArray[np.float32]]


class Scorer:
    """Scores unit sequences.

    Args:
        lm: the frozen LM.
        prompts: by task.
        unit_tokens: token id of each unit, int64 [units].
        precision: of the LM's matrix products.
    """

    def __init__(
        self,
        lm: UnitLM,
        prompts: Mapping[str, LoadedPrompt],
        unit_tokens: NDArray[np.int64],
        precision: Precision,
    ) -> None:
        self._lm, self._prompts, self._unit_tokens, self._precision = lm, prompts, unit_tokens, precision

    def __call__(
        self,
        units: Sequence[NDArray[np.int16]],
        tasks: Sequence[str],
        prosody: Sequence[UnitProsody] | None,
        *,
        explain: bool,
    ) -> list[Scored]:
        """What is said of each sequence.

        Args:
            units: sequences without adjacent repeats, each int16 [T].
            tasks: which prompt reads each.
            prosody: of each, for a multi-stream LM.
            explain: whether to say what each position adds.
        """
        found: dict[int, Scored] = {}
        # Similar lengths together; what is said of a sequence does not depend on its neighbours.
        order = sorted(range(len(units)), key=lambda index: len(units[index]))
        for start in range(0, len(order), ROWS_PER_PASS):
            by_task: dict[str, list[int]] = {}
            for row in order[start : start + ROWS_PER_PASS]:
                by_task.setdefault(tasks[row], []).append(row)
            found |= self._pass(by_task, units, prosody, explain=explain)
        return [found[row] for row in range(len(units))]

    @torch.no_grad()
    def _pass(
        self,
        by_task: Mapping[str, Sequence[int]],
        units: Sequence[NDArray[np.int16]],
        prosody: Sequence[UnitProsody] | None,
        *,
        explain: bool,
    ) -> Iterator[tuple[int, Scored]]:
        prompts = [self._prompts[name] for name in by_task]
        groups = [
            PromptRows(
                [self._unit_tokens[units[row]] for row in rows],
                len(prompt.manifest.slots),
                prosody=None if prosody is None else [prosody[row] for row in rows],
                separator_prosody=prompt.inference.separator_prosody == "last",
            )
            for rows, prompt in zip(by_task.values(), prompts, strict=True)
        ]
        # Every member of an ensemble reads the same rows.
        members = [member.tensors for prompt in prompts for member in prompt.members]
        rows_of = [group for prompt, group in zip(prompts, groups, strict=True) for _ in prompt.members]
        with autocast(self._precision, self._lm.device):
            inputs, listening = run_pass(self._lm, members, rows_of)
        read = iter(inputs)
        positions = iter([None] * len(members) if listening is None or not explain else listening.positions())
        for rows, prompt in zip(by_task.values(), prompts, strict=True):
            scores = prompt.scores([next(read) for _ in prompt.members])
            parts = prompt.parts([next(positions) for _ in prompt.members], len(rows)) if explain else []
            for place, row in enumerate(rows):
                own = [slot[place][: 1 + len(units[row])] for slot in parts]
                yield row, Scored([slot[place] for slot in scores], own)
