"""Models that are no unit LM, no HuBERT base and no prompt are named for what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from infra.errors import BackboneError
from workers.fairseq.model_kinds import check_kind
from workers.fairseq.original_files import OriginalFiles
from workers.interop.backbone import import_backbone
from workers.interop.hubert import import_hubert

FIRST = "feature_extractor.conv_layers.0.0.weight"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["w2v_encoder.w2v_model." + FIRST, "w2v_encoder.proj.weight"], "a speech encoder fine-tuned for recognition"),
        (["encoder.w2v_model." + FIRST, "decoder.embed_tokens.weight"], "a speech encoder fine-tuned for recognition"),
        (["feature_extractor.conv_layers.0.conv.weight", "aux.weight"], "a speech encoder fine-tuned for recognition"),
        ([FIRST, "quantizer.vars", "project_q.weight"], "a wav2vec 2.0, whose features are others (it has quantizer."),
        ([FIRST, "encoder.layers.0.self_attn.relative_attention_bias.weight"], "a WavLM, whose features are others"),
        ([FIRST, "feature_extractor.conv_layers.1.2.1.weight"], "a HuBERT larger than base"),
        (["hubert.feature_projection.projection.weight", "lm_head.weight"], "a speech encoder of Hugging Face"),
        (["decoder.embed_tokens.weight", "decoder.version"], "a unit LM (it has decoder.embed_tokens.weight); give it"),
        (["decoder.sep_embed.weight"], "a prompt of the reference code"),
    ],
)
def test_what_is_no_hubert_base(names: list[str], said: str) -> None:
    with pytest.raises(BackboneError) as caught:
        check_kind(names, "given.pt", "speech encoder")
    assert str(caught.value).startswith(f"given.pt: this is {said}")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([FIRST, "mask_emb"], "a HuBERT checkpoint (it has feature_extractor"),
        (["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"], "a model with an encoder of text"),
        (["transformer.wte.weight", "transformer.h.0.ln_1.weight"], "an LM of Hugging Face"),
        (["model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"], "an LM of Hugging Face"),
        (["decoder.embed_tokens.weight", "decoder.sep_embed.weight"], "a prompt of the reference code"),
    ],
)
def test_what_is_no_unit_lm(names: list[str], said: str) -> None:
    with pytest.raises(BackboneError) as caught:
        check_kind(names, "given.pt", "unit LM")
    assert str(caught.value).startswith(f"given.pt: this is {said}")


def test_what_is_wanted_or_unknown_passes() -> None:
    check_kind([FIRST, "encoder.layers.0.fc1.weight", "final_proj.weight"], "given.pt", "speech encoder")
    check_kind(["decoder.embed_tokens.weight", "decoder.layers.0.fc1.weight"], "given.pt", "unit LM")
    check_kind(["w"], "given.pt", "unit LM")


def test_a_fine_tuned_encoder_below_a_wrapper_is_not_taken_for_the_pretrained_one(tmp_path: Path) -> None:
    names = ["module.w2v_encoder.w2v_model." + FIRST, "module.w2v_encoder.w2v_model.mask_emb"]
    torch.save({"model": {name: torch.zeros(2, 1, 10) for name in names}}, tmp_path / "ctc.pt")
    with pytest.raises(BackboneError, match=r"ctc\.pt: this is a speech encoder fine-tuned .*; give the pretrained"):
        import_hubert(str(tmp_path / "ctc.pt"), np.zeros((2, 3), np.float32), layer=1)


def test_torchaudios_wav2vec_is_told_by_its_name_alone(tmp_path: Path) -> None:
    names = ("feature_extractor.conv_layers.0.conv.weight", "encoder.feature_projection.projection.weight")
    state = {name: torch.zeros(2, 2) for name in names}
    torch.save(state, tmp_path / "wav2vec2_fairseq_base_ls960.pth")
    with pytest.raises(BackboneError, match=r"its name says wav2vec 2\.0, whose features are others"):
        import_hubert(str(tmp_path / "wav2vec2_fairseq_base_ls960.pth"), np.zeros((2, 3), np.float32), layer=1)


def test_an_encoder_given_as_lm_is_named_before_its_dictionary_is_missed(tmp_path: Path) -> None:
    torch.save({"model": {FIRST: torch.zeros(2, 1, 10)}}, tmp_path / "hubert.pt")
    with pytest.raises(BackboneError, match=r"hubert\.pt: this is a HuBERT checkpoint .*; give it with --hubert"):
        import_backbone(OriginalFiles(lm=str(tmp_path / "hubert.pt"), tokenizer_name="any"))
