"""Original unit LMs as this project's, against golden vectors, against fairseq itself, and against damage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from infra.errors import BackboneError
from tests.fixtures import fairseq_shapes
from tests.fixtures.golden import expected, imported_lm, toy_lm
from tests.fixtures.shared_data import shared_folder
from workers.fairseq.checkpoint import FairseqCheckpoint, read_checkpoint
from workers.unit_lm.engine.packing import Packing
from workers.unit_lm.fairseq import original_name
from workers.unit_lm.gslm.config import GSLMConfig
from workers.unit_lm.gslm.dictionary import UnitDictionary, read_dictionary
from workers.unit_lm.gslm.fairseq import import_gslm
from workers.unit_lm.kinds import build_lm
from workers.unit_lm.pgslm.f0_bins import read_f0_edges
from workers.unit_lm.pgslm.fairseq import import_pgslm
from workers.unit_lm.pgslm.model import PGSLM
from workers.unit_lm.pgslm.streams import ProsodyInputs
from workers.unit_lm.transformer import TransformerLM
from workers.unit_lm.unit_lm import UnitLM

SMALL = GSLMConfig(layers=2, dim=16, heads=2, ffn_dim=24, vocabulary=14)
DICTIONARY = UnitDictionary(tuple(range(4, 14)), 14)
LAYER = "decoder.layers.1."


def _logits(lm: UnitLM, tokens: Tensor, prosody: ProsodyInputs | None = None) -> Tensor:
    """Scores of rows of one length, [B, T, outputs]."""
    assert isinstance(lm, TransformerLM)
    x = lm.embed_tokens(tokens.flatten())
    if prosody is not None:
        assert isinstance(lm, PGSLM)
        x = x + lm.prosody_terms(prosody)
    return lm.logits(lm(x, Packing.of(np.full(len(tokens), tokens.shape[1])))).view(*tokens.shape, -1)


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("checkpoint.pt", "logits"),
        ("checkpoint_args_namespace.pt", "logits"),
        ("checkpoint_fp16.pt", "logits_fp16_weights"),
    ],
)
def test_scores_are_the_references(file: str, wanted: str) -> None:
    folder = shared_folder("golden/gslm")
    gold = expected(folder / "expected.npz")
    lm = toy_lm(folder, file)
    tokens = torch.from_numpy(gold["tokens"][gold["mask"]])
    found = lm.logits(lm(lm.embed_tokens(tokens), Packing.of(gold["lengths"])))
    np.testing.assert_allclose(found.numpy(), gold[wanted][gold["mask"]], rtol=0, atol=2e-5)


def test_both_layouts_give_the_same_bits() -> None:
    folder = shared_folder("golden/gslm")
    new, old = (toy_lm(folder, f"checkpoint{kind}.pt").state_dict() for kind in ("", "_args_namespace"))
    assert all(torch.equal(new[name], old[name]) for name in new)


@pytest.mark.parametrize("name", fairseq_shapes.GSLM)
@pytest.mark.parametrize("layout", ["", ".dictconfig", ".args", ".headless", ".legacy", ".old"])
def test_fairseq_gives_the_same_scores(witness: Path, name: str, layout: str) -> None:
    arrays = expected(witness / f"{name}.npz")
    dictionary = read_dictionary(str(witness / f"{name}.dict.txt"))
    heads = fairseq_shapes.GSLM[name][2] if layout == ".headless" else None
    imported = import_gslm(read_checkpoint(str(witness / f"{name}{layout}.pt")), dictionary, heads=heads)
    layers, dim, found_heads, ffn_dim, _ = fairseq_shapes.GSLM[name]
    assert imported.config == GSLMConfig(
        layers=layers, dim=dim, heads=found_heads, ffn_dim=ffn_dim, vocabulary=dictionary.vocabulary
    )
    tokens = np.array(imported.unit_tokens)[arrays["units"]]
    np.testing.assert_array_equal(tokens, arrays["tokens"][:, 1:])
    found = _logits(imported_lm(imported), torch.from_numpy(arrays["tokens"]))
    # The oldest layout holds half precision.
    np.testing.assert_allclose(found.numpy(), arrays["logits"], rtol=0, atol=2e-5 if layout != ".old" else 0.05)


@pytest.mark.parametrize("name", fairseq_shapes.PGSLM)
def test_fairseq_gives_the_same_scores_of_all_streams(witness: Path, name: str) -> None:
    arrays = {key: torch.from_numpy(array) for key, array in expected(witness / f"{name}.npz").items()}
    edges = read_f0_edges(str(witness / "f0_bins.th")) if "discrete" in name else None
    imported = import_pgslm(read_checkpoint(str(witness / f"{name}.pt")), f0_edges=edges)
    assert imported.unit_tokens == tuple(range(100))
    prosody = ProsodyInputs(arrays["durations"].flatten(), arrays["f0"].flatten())
    found = _logits(imported_lm(imported), arrays["tokens"], prosody)
    torch.testing.assert_close(found, arrays["logits"], rtol=0, atol=2e-5)


def test_dictionary_that_is_sorted_by_frequency() -> None:
    folder = shared_folder("golden/gslm")
    gold = expected(folder / "expected.npz")
    dictionary = read_dictionary(str(folder / "dict_freq_sorted.txt"))
    for units, ids in zip(gold["units"], gold["ids_freq_sorted_dict"], strict=True):
        units = units[units >= 0]
        assert [dictionary.unit_tokens[unit] for unit in units] == ids[: len(units)].tolist()
    assert read_dictionary(str(folder / "dict.txt")) == UnitDictionary(tuple(range(4, 104)), 104)


def test_dictionary_with_padding(tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    path.write_text("1 9\n0 7\nmadeupword0000 0\nmadeupword0001 0\n")
    assert read_dictionary(str(path)) == UnitDictionary((5, 4), 8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 1\n1 1\n0 5\n", ":3: 0 stands there twice"),
        ("0 1\nmadeupword0000 0\nmadeupword0000 0\n", ":3: madeupword0000 stands there twice"),
        ("0 1\nhello 1\n", ":2: 'hello' is not the number of a unit"),
        ("0 1\n01 1\n", ":2: '01' is not the number of a unit"),
        ("0 1\n-1 1\n", ":2: '-1' is not the number of a unit"),
        ("0 1\n1\n", ":2: '1' is not a symbol and its count"),
        ("0 1\n1 one\n", ":2: '1 one' is not a symbol and its count"),
        ("0 1\n2 1\n", ": unit 1 is missing among 2 units"),
        ("", ": an empty file instead of a dictionary of fairseq"),
        ("0 1\n1 #fairseq:overwrite\n", ":2: '1 #fairseq:overwrite' is not a symbol and its count"),
    ],
)
def test_dictionary_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "dict.txt"
    path.write_text(text)
    with pytest.raises(BackboneError) as caught:
        read_dictionary(str(path))
    assert str(caught.value).startswith(f"{path}")
    assert said in str(caught.value)


def test_dictionary_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "dict.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BackboneError, match=r"dict\.txt: not a dictionary of fairseq"):
        read_dictionary(str(tmp_path / "dict.txt"))
    with pytest.raises(BackboneError, match=r"gone\.txt: there is no such file"):
        read_dictionary(str(tmp_path / "gone.txt"))


def _checkpoint(**settings: Any) -> FairseqCheckpoint:
    lm = build_lm(SMALL)
    lm.initialise(0)
    tensors = {original_name(name): tensor for name, tensor in lm.state_dict().items()}
    tensors["decoder.version"] = torch.tensor([3.0])
    tensors["decoder.output_projection.weight"] = tensors["decoder.embed_tokens.weight"]
    model = {
        "_name": "transformer_lm_big",
        "decoder_layers": 2,
        "decoder_embed_dim": 16,
        "decoder_ffn_embed_dim": 24,
        "decoder_attention_heads": 2,
    }
    return FairseqCheckpoint("small.pt", tensors, {**model, **settings}, {})


def _with(checkpoint: FairseqCheckpoint, changes: Mapping[str, Tensor | None]) -> FairseqCheckpoint:
    """With tensors replaced, added, or taken away."""
    tensors = {name: tensor for name, tensor in {**checkpoint.tensors, **changes}.items() if tensor is not None}
    return replace(checkpoint, tensors=tensors)


def test_a_plain_checkpoint_comes_back_as_it_was() -> None:
    imported = import_gslm(_checkpoint(), DICTIONARY)
    lm = build_lm(SMALL)
    lm.initialise(0)
    assert imported.config == SMALL
    assert all(np.array_equal(imported.tensors[name], tensor) for name, tensor in lm.state_dict().items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({f"{LAYER}fc1.bias": None}, "decoder.layers.1.fc1.bias is missing"),
        ({"decoder.layer_norm.weight": None}, "decoder.layer_norm.weight is missing"),
        ({f"{LAYER}extra.weight": torch.zeros(1)}, "decoder.layers.1.extra.weight is not part of this LM"),
        ({f"{LAYER}fc2.weight": torch.zeros(24, 16)}, "fc2.weight has shape (24, 16) instead of (16, 24)"),
        ({f"{LAYER}fc1.bias": torch.zeros(24, dtype=torch.int32)}, "fc1.bias is torch.int32 instead of floating point"),
        ({f"{LAYER}fc1.bias": torch.full((24,), 1e300, dtype=torch.float64)}, "fc1.bias holds numbers that are not"),
        ({f"{LAYER}fc1.bias": torch.full((24,), torch.nan)}, "fc1.bias holds numbers that are not finite"),
        (
            {"decoder.output_projection.weight": torch.zeros(14, 16)},
            "output_projection.weight differs from decoder.emb",
        ),
        ({"decoder.embed_tokens.weight": None}, "decoder.embed_tokens.weight is missing"),
        ({"decoder.embed_tokens.weight": torch.zeros(104, 16)}, "dict.txt: 14 tokens with the 4 special"),
        ({"decoder.version": torch.tensor([2.0])}, "decoder.version is missing or at most 2"),
        ({"decoder.version": None}, "decoder.version is missing or at most 2"),
        ({f"{LAYER}layer_norms.0.weight": torch.zeros(16)}, "self_attn_layer_norm.weight stands there under two names"),
        ({f"{LAYER}layer_norms.1.weight": torch.zeros(16)}, "layer_norms.1.weight is not part of this LM"),
        ({f"{LAYER}self_attn.in_proj_bias": torch.zeros(4)}, "in_proj_bias of shape (4,) does not split"),
        ({"decoder.layers.2.fc1.bias": torch.zeros(24)}, "decoder_layers is 2, but its tensors are of 3"),
        ({"feature_extractor.conv_layers.0.0.weight": torch.zeros(1)}, "this is a HuBERT checkpoint"),
        ({"decoder.sep_embed.weight": torch.zeros(1)}, "see 'speechprompt bundle import'"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Tensor | None], said: str) -> None:
    with pytest.raises(BackboneError) as caught:
        import_gslm(_with(_checkpoint(), change), DICTIONARY)
    assert str(caught.value).startswith(("small.pt: ", "dict.txt: "))
    assert said in str(caught.value)


ODD = {
    "scalar": torch.tensor(1.0),
    "empty": torch.zeros(0),
    "complex": torch.zeros(14, 16, dtype=torch.complex64),
    "complex scalar": torch.zeros(1, dtype=torch.complex64),
    "whole": torch.zeros(14, 16, dtype=torch.int64),
    "yes or no": torch.zeros(1, dtype=torch.bool),
    "half": torch.zeros(14, 16, dtype=torch.float16),
}


@pytest.mark.parametrize("kind", ODD)
def test_no_odd_tensor_ends_in_another_way(kind: str) -> None:
    names = [*_checkpoint().tensors, f"{LAYER}self_attn.in_proj_weight", f"{LAYER}layer_norms.2.bias"]
    for name in names:
        with pytest.raises(BackboneError, match=r"^(small\.pt|dict\.txt): .*; \w"):
            import_gslm(_with(_checkpoint(), {name: ODD[kind]}), DICTIONARY)


@pytest.mark.parametrize("kind", ODD)
def test_no_odd_tensor_of_a_stream_ends_in_another_way(kind: str) -> None:
    checkpoint = read_checkpoint(str(shared_folder("golden/pgslm") / "checkpoint_discrete.pt"))
    edges = {32: tuple(float(edge) for edge in range(31))}
    for name in checkpoint.tensors:
        with pytest.raises(BackboneError):
            import_pgslm(_with(checkpoint, {name: ODD[kind]}), f0_edges=edges)


def test_a_missing_output_projection_is_the_tied_one() -> None:
    plain, without = _checkpoint(), _with(_checkpoint(), {"decoder.output_projection.weight": None})
    found, wanted = (import_gslm(checkpoint, DICTIONARY).tensors for checkpoint in (without, plain))
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"activation_fn": "gelu"}, "cfg.model.activation_fn is 'gelu', but the unit LM stands for 'relu'"),
        ({"decoder_normalize_before": False}, "cfg.model.decoder_normalize_before is False"),
        ({"adaptive_softmax_cutoff": "1000"}, "cfg.model.adaptive_softmax_cutoff is '1000'"),
        ({"character_embeddings": True}, "cfg.model.character_embeddings is True"),
        ({"decoder_attention_heads": None}, "give the number of attention heads with --heads"),
        ({"decoder_attention_heads": 3}, "dim 16 is not a multiple of twice the heads, 3"),
        ({"decoder_embed_dim": 32}, "decoder_embed_dim is 32, but its tensors are of 16"),
    ],
)
def test_another_architecture_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BackboneError) as caught:
        import_gslm(_checkpoint(**settings), DICTIONARY)
    assert said in str(caught.value)


def test_heads_that_contradict_the_checkpoint() -> None:
    with pytest.raises(BackboneError, match="states 2 attention heads, not 4; leave --heads out"):
        import_gslm(_checkpoint(), DICTIONARY, heads=4)


def _changed_task(checkpoint: FairseqCheckpoint, **changes: Any) -> FairseqCheckpoint:
    task = {name: value for name, value in {**checkpoint.task, **changes}.items() if value is not None}
    return replace(checkpoint, task=task)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stream_shifts": "0,0"}, "cfg.task.stream_shifts is '0,0', but this model reads '1,1'"),
        ({"log_f0": False}, "cfg.task.log_f0 is False"),
        ({"discrete_f0": False}, "cfg.task.discrete_f0 is False"),
        ({"ignore_f0_input": None}, "cfg.task.ignore_f0_input is missing instead of bool"),
        ({"max_token_duration": 30}, "decoder.embed_other_list.0.weight has shape (25, 32) instead of (35, 32)"),
    ],
)
def test_streams_that_cannot_be_followed(changes: dict[str, Any], said: str) -> None:
    folder = shared_folder("golden/pgslm")
    edges = {32: tuple(float(edge) for edge in range(31))}
    checkpoint = read_checkpoint(str(folder / "checkpoint_discrete.pt"))
    with pytest.raises(BackboneError) as caught:
        import_pgslm(_changed_task(checkpoint, **changes), f0_edges=edges)
    assert said in str(caught.value)


def test_f0_bins_belong_to_discrete_f0() -> None:
    folder = shared_folder("golden/pgslm")
    discrete, continuous = (
        read_checkpoint(str(folder / f"checkpoint_{kind}.pt")) for kind in ("discrete", "continuous")
    )
    with pytest.raises(BackboneError, match=r"discrete F0 needs the edges of its bins; give .* with --f0-bins"):
        import_pgslm(discrete)
    with pytest.raises(BackboneError, match="32 F0 bins, but --f0-bins has edges for 16"):
        import_pgslm(discrete, f0_edges={16: (0.0,) * 15})
    with pytest.raises(BackboneError, match="continuous F0 has no bins; leave --f0-bins out"):
        import_pgslm(continuous, f0_edges={32: (0.0,) * 31})


def test_whose_mean_f0_is_subtracted() -> None:
    checkpoint = read_checkpoint(str(shared_folder("golden/pgslm") / "checkpoint_continuous.pt"))

    def mean(found: FairseqCheckpoint, **options: str) -> str:
        config = import_pgslm(found, **options).config  # type: ignore[arg-type]
        return str(config.model_dump()["prosody"]["f0_mean"])

    assert mean(checkpoint) == "speaker"
    assert mean(checkpoint, f0_mean="utterance") == "utterance"
    assert mean(_changed_task(checkpoint, normalize_f0_mean=False), f0_mean="utterance") == "none"


EDGES = np.linspace(-1, 1, 31)


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: torch.save({32: EDGES}, folder / "bins"),
        lambda folder: torch.save({32: EDGES, 4: EDGES[:3]}, folder / "bins"),
        lambda folder: torch.save({32: torch.from_numpy(EDGES)}, folder / "bins"),
        lambda folder: torch.save({32: EDGES}, folder / "bins", _use_new_zipfile_serialization=False),
    ],
)
def test_f0_bins_are_read(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    assert read_f0_edges(str(tmp_path / "bins"))[32] == tuple(EDGES.tolist())


def test_f0_bins_as_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "bins.npy", EDGES)
    assert read_f0_edges(str(tmp_path / "bins.npy")) == {32: tuple(EDGES.tolist())}
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BackboneError, match=r"objects\.npy: .*not an \.npy file of numbers"):
        read_f0_edges(str(tmp_path / "objects.npy"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1], "no F0 bins by their number"),
        ({}, "no F0 bins by their number"),
        ({"32": EDGES}, "no F0 bins by their number"),
        ({32: EDGES[:30]}, "30 edges for 32 bins, which need 31"),
        ({32: EDGES[::-1].copy()}, "the edges of F0 bins do not ascend"),
        ({32: EDGES * np.nan}, "the edges of F0 bins do not ascend"),
        ({32: "text"}, "no row of numbers"),
        ({32: np.array([{}] * 31, dtype=object)}, "objects instead of numbers"),
    ],
)
def test_f0_bins_that_cannot_be_used(tmp_path: Path, content: Any, said: str) -> None:
    torch.save(content, tmp_path / "bins.th")
    with pytest.raises(BackboneError, match=rf"bins\.th: .*{said}"):
        read_f0_edges(str(tmp_path / "bins.th"))


def test_sizes_of_the_published_model() -> None:
    # The two of pGSLM are asserted beside its module.
    published = GSLMConfig(layers=12, dim=1024, heads=16, ffn_dim=4096)
    with torch.device("meta"):
        shapes: Mapping[str, Tensor] = build_lm(published).state_dict()
    assert sum(tensor.numel() for tensor in shapes.values()) == 151_263_232
