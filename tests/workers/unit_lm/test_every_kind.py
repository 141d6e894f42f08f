"""What holds for every kind of unit LM that is registered, and for one that a test adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from infra.errors import BackboneError
from tests.fixtures.chain import UNIT_TOKENS, UNITS, chain
from tests.fixtures.plain_attention_lm import PlainConfig, PlainLM
from workers.backbone.directory import Backbone, read_backbone, write_backbone
from workers.backbone.sharing import SharedLM
from workers.speech.external import ExternalConfig, ExternalTokenizer
from workers.speech.unit_prosody import UnitProsody
from workers.unit_lm.engine.rows import Prefix, Reads, Rows
from workers.unit_lm.gslm.config import GSLMConfig
from workers.unit_lm.kinds import UNIT_LMS, UnitLMKind, build_lm, kind_of, parse_config
from workers.unit_lm.pgslm.config import PGSLMConfig
from workers.unit_lm.pretraining import Pretraining, PretrainSettings
from workers.unit_lm.unit_lm import UnitLM, UnitLMConfig

SIZES: dict[str, Any] = {"layers": 2, "dim": 16, "heads": 2, "ffn_dim": 24, "vocabulary": UNITS + 4}
AFTER: dict[str, Any] = {"bos": UNITS, "pad": UNITS + 1, "eos": UNITS + 2}
CONFIGS: dict[str, UnitLMConfig] = {
    "gslm": GSLMConfig(**SIZES),
    "pgslm, continuous": PGSLMConfig(**SIZES, **AFTER),
    "pgslm, discrete": PGSLMConfig(**SIZES, **AFTER, streams="discrete", f0_edges=(-0.5, 0.5), duration_cap=5),
    "added": PlainConfig(**SIZES),
}


@pytest.fixture(autouse=True)
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UNIT_LMS.entries, "plain", UnitLMKind(PlainConfig, PlainLM))


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> UnitLMConfig:
    return CONFIGS[request.param]


@pytest.fixture
def lm(config: UnitLMConfig) -> UnitLM:
    made = build_lm(config)
    made.initialise(0)
    return made.requires_grad_(False).eval()


def _rows(config: UnitLMConfig, lengths: list[int]) -> Rows:
    rng = np.random.default_rng(0)
    units = [rng.integers(UNITS, size=length) for length in lengths]
    prosody = [UnitProsody((row % 7 + 1).astype(np.int32), np.sin(row).astype(np.float32)) for row in units]
    return Rows.of_units(units, prosody, start=config.start, device="cpu")


def _prefix(config: UnitLMConfig, rows: int) -> Prefix:
    keys, values = torch.randn(2, 1, config.layers, 3, config.dim, generator=torch.Generator().manual_seed(1))
    return Prefix(keys, values, np.zeros(rows, dtype=np.int64))


def test_the_matrix_has_every_registered_kind() -> None:
    assert {config.kind for config in CONFIGS.values()} == set(UNIT_LMS)
    for name, kind in UNIT_LMS.items():
        assert kind.config.model_fields["kind"].default == name


def test_settings_survive_json_and_a_backbone(config: UnitLMConfig, lm: UnitLM, tmp_path: Path) -> None:
    assert parse_config(json.loads(config.model_dump_json())) == config
    tensors = {name: tensor.numpy() for name, tensor in lm.state_dict().items()}
    tokenizer = ExternalTokenizer(ExternalConfig(name="any", units=UNITS))
    write_backbone(Backbone("toy", config, tensors, tuple(range(UNITS)), tokenizer), str(tmp_path))
    found = read_backbone(str(tmp_path))
    assert found.config == config
    rows = _rows(config, [3, 5])
    attached = SharedLM.of(found).attach()
    assert torch.equal(attached(attached.embed_rows(rows), rows.packing), lm(lm.embed_rows(rows), rows.packing))


def test_weights_follow_from_the_seed_alone(config: UnitLMConfig, lm: UnitLM) -> None:
    torch.manual_seed(5)
    again, other = build_lm(config), build_lm(config)
    again.initialise(0)
    other.initialise(1)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in lm.state_dict().items())
    assert any(not torch.equal(tensor, other.state_dict()[name]) for name, tensor in lm.state_dict().items())


def test_a_row_does_not_feel_its_neighbours_nor_what_comes_after(config: UnitLMConfig, lm: UnitLM) -> None:
    rows = _rows(config, [4, 7, 2])
    together = lm.logits(lm(lm.embed_rows(rows), rows.packing))
    assert together.shape == (16, config.outputs)
    first = _rows(config, [4])
    torch.testing.assert_close(lm.logits(lm(lm.embed_rows(first), first.packing)), together[:5], rtol=1e-4, atol=1e-5)
    shorter = Rows.of_units([rows.tokens[1:3].numpy()], [rows.prosody[0].part(0, 2)], start=config.start, device="cpu")  # type: ignore[union-attr]
    torch.testing.assert_close(
        lm.logits(lm(lm.embed_rows(shorter), shorter.packing)), together[:3], rtol=1e-4, atol=1e-5
    )


def test_reads_are_rows_of_the_whole_and_prefixes_may_be_projected_before(config: UnitLMConfig, lm: UnitLM) -> None:
    rows, prefix = _rows(config, [4, 6]), _prefix(config, 2)
    x, reads = lm.embed_rows(rows), Reads(torch.tensor([3, 4, 10, 11]), np.array([[3, 4], [5, 6]]))
    whole = lm(x, rows.packing, prefix=prefix)
    assert not torch.allclose(whole, lm(x, rows.packing))
    torch.testing.assert_close(
        lm(x, rows.packing, prefix=prefix, reads=reads), whole[reads.tokens], rtol=1e-4, atol=1e-5
    )
    keys, values = lm.project(prefix.keys[0], prefix.values[0])
    projected = Prefix(keys[None], values[None], prefix.row_prompt, projected=True)
    torch.testing.assert_close(lm(x, rows.packing, prefix=projected), whole, rtol=1e-4, atol=1e-5)


def test_states_are_offered_and_gradients_reach_what_is_trained(config: UnitLMConfig, lm: UnitLM) -> None:
    rows, prefix = _rows(config, [4, 6]), _prefix(config, 2)
    assert lm.attention_inputs(rows).shape == (config.layers, 12, config.dim)
    with_vectors = Rows(
        rows.tokens, rows.packing, rows.prosody, rows.prosody_positions, vector_at=torch.tensor([4, 11])
    )
    leaves: list[Tensor] = [
        lm.token_vector(config.eos).repeat(2, 1).requires_grad_(),
        prefix.keys.requires_grad_(),
        prefix.values.requires_grad_(),
    ]
    lm.logits(lm(lm.embed_rows(with_vectors, leaves[0]), rows.packing, prefix=prefix)).square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(leaf.grad is not None and leaf.grad.abs().max() > 0 for leaf in leaves)


def test_pretraining_learns(config: UnitLMConfig) -> None:
    lm = build_lm(config, dropout=0.0)
    lm.initialise(0)
    settings = PretrainSettings(steps=30, batch_tokens=128, learning_rate=0.01, warmup_steps=5, precision="fp32")
    tokens = UNIT_TOKENS if config.eos < 4 else np.arange(UNITS)
    run = Pretraining(lm, settings, train=chain(120, seed=1), valid=chain(20, seed=2), unit_tokens=tokens)
    before = run.validate()
    while not run.finished:
        run.advance()
    assert run.validate().keys() == before.keys()
    assert run.validate()["perplexity"] < 0.8 * before["perplexity"]


def test_a_section_of_a_file_gives_settings_of_its_kind(config: UnitLMConfig) -> None:
    section = kind_of(config).section
    if section is None:
        pytest.skip("is only imported")
    speech = chain(20, seed=1)
    if section().prosody_settings is not None:  # type: ignore[call-arg]
        f0 = np.linspace(-1, 1, len(speech.flat), dtype=np.float32)
        prosody = UnitProsody(np.ones(len(speech.flat), dtype=np.int32), f0)
        speech = type(speech)(speech.flat, speech.offsets, prosody)
    made, tokens = section().lm_config(UNITS, speech)  # type: ignore[call-arg]
    assert (made.kind, len(tokens)) == (config.kind, UNITS)
    assert not {made.bos, made.pad, made.eos} & set(tokens)


def test_a_kind_that_is_not_registered_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(UNIT_LMS.entries, "plain")
    with pytest.raises(BackboneError, match="no unit LM of kind 'plain' in this process; install the package"):
        build_lm(CONFIGS["added"])
