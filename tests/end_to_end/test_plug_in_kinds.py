"""A toy LM and a toy tokenizer, registered here and nowhere else, go the whole way from audio to an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

from orchestrator.pretraining.file import load_pretrain_file
from tests.fixtures.command_line import speechprompt
from tests.fixtures.tones import babble, write_audio
from tests.workers.inference import test_classifier as classifying
from tests.workers.tuning.step import test_gang as gangs
from workers.backbone.directory import Backbone, write_backbone
from workers.backbone.sharing import SharedLM
from workers.bundle.publish import publish
from workers.speech.sequences import UnitSequences
from workers.speech.tokenizer import TOKENIZERS, tokenizer_of
from workers.unit_lm.engine.rows import Rows
from workers.unit_lm.kinds import UNIT_LMS, UnitLMKind, build_lm
from workers.unit_lm.pretraining import Pretraining
from workers.unit_lm.section import UnitLMSection
from workers.unit_lm.transformer import TransformerLM
from workers.unit_lm.unit_lm import UnitLMConfig


class ToyConfig(UnitLMConfig):
    kind: Literal["toy"] = "toy"


class ToyLM(TransformerLM):
    """Marks with a trained vector where a row begins."""

    def __init__(self, config: ToyConfig, *, dropout: float = 0.0) -> None:
        super().__init__(config, dropout=dropout)
        self.begin = nn.Parameter(torch.ones(config.dim))

    def stream_terms(self, rows: Rows) -> Tensor:
        return (rows.packing.offsets[: len(rows.tokens), None] == 0) * self.begin


class ToySection(UnitLMSection):
    kind: Literal["toy"] = "toy"

    def lm_config(self, units: int, train: UnitSequences) -> tuple[ToyConfig, tuple[int, ...]]:  # noqa: ARG002
        return ToyConfig(**self.sizes(), vocabulary=units + 4), tuple(range(4, units + 4))


class ToySettings(BaseModel):
    kind: Literal["loudness"] = "loudness"
    units: int = 20


@dataclass
class ToyTokenizer:
    """A unit for each tenth of a second: how loud it is."""

    of: ToySettings
    kind: ClassVar[str] = "loudness"
    settings: ClassVar[type[BaseModel] | None] = ToySettings
    gains_from_gpu: ClassVar[bool] = False
    sample_rate, frame_seconds = 1_000, 0.1

    @property
    def units(self) -> int:
        return self.of.units

    def config(self) -> dict[str, Any]:
        return self.of.model_dump()

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Self:  # noqa: ARG003
        return cls(ToySettings.model_validate(config))

    @classmethod
    def tensor_shapes(cls, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:  # noqa: ARG003
        return {}

    def to(self, device: str) -> Self:  # noqa: ARG002
        return self

    def encode(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int64]]:
        frames = [wave[: len(wave) // 100 * 100].reshape(-1, 100) for wave in waves]
        return [np.minimum(abs(one).mean(axis=1) * 60, self.units - 1).astype(np.int64) for one in frames]


def test_kinds_that_a_package_adds_go_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UNIT_LMS.entries, "toy", UnitLMKind(ToyConfig, ToyLM, ToySection))
    monkeypatch.setitem(TOKENIZERS.entries, "loudness", ToyTokenizer)
    file = tmp_path / "backbone.yaml"
    file.write_text(
        "{out: backbone, tasks: [task.yaml], tokenizer: {kind: loudness}, training: {steps: 30, evaluate_every: 30},\n"
        " unit_lm: {kind: toy, layers: 2, dim: 16, heads: 2, ffn_dim: 24}}"
    )
    described = load_pretrain_file(str(file))
    tokenizer = tokenizer_of(described.tokenizer)
    speech = UnitSequences.of(tokenizer.encode([babble(seed, 2, sample_rate=1_000) for seed in range(40)]))
    config, unit_tokens = described.unit_lm.lm_config(tokenizer.units, speech)
    lm = build_lm(config)
    lm.initialise(0)
    run = Pretraining(lm, described.training, train=speech, valid=speech, unit_tokens=np.array(unit_tokens))
    before = run.validate()["perplexity"]
    while not run.finished:
        run.advance()
    assert run.validate()["perplexity"] < before
    tensors = {name: tensor.detach().numpy() for name, tensor in lm.state_dict().items()}
    backbone = Backbone("toy", config, tensors, unit_tokens, tokenizer)
    write_backbone(backbone, described.out)

    monkeypatch.setattr(gangs, "LM", SharedLM.of(backbone).attach())
    gangs.test_a_lane_goes_in_a_gang_as_it_goes_alone()
    monkeypatch.setattr(classifying, "backbone", lambda: backbone)
    bundle, _ = classifying.tuned.__wrapped__("linear")
    place = publish(str(tmp_path / "bundles"), bundle).uri
    recording = write_audio(tmp_path / "speech.wav", babble(0, 2))
    done = speechprompt("classify", "--bundle", place, "--backbone", described.out, recording)
    assert done.code == 0, done.stderr
    assert "class" in done.stdout
