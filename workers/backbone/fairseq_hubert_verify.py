"""fairseq itself as the witness of an imported HuBERT: its features and this project's of the same noise."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from workers.backbone.fairseq_at_hand import fairseq_at_hand
from workers.backbone.fairseq_checkpoint import FairseqCheckpoint
from workers.speech.hubert import HubertTokenizer
from workers.speech.hubert_config import hubert_config
from workers.speech.hubert_encoder import HubertEncoder
from workers.speech.hubert_weights import TORCHAUDIO, as_fairseq

_SAMPLES = (400, 719, 16_000, 40_000)
_SEED = 20
_HEADS = ("final_proj.", "label_embs_concat")


@torch.no_grad()
def features_difference(checkpoint: FairseqCheckpoint, tokenizer: HubertTokenizer) -> float:
    """The largest absolute difference between fairseq's features and the tokenizer's, at the layer that is used.

    Raises:
        MissingExtra: fairseq is not installed.
    """
    config = hubert_config(tokenizer.config())
    original_tensors = checkpoint.tensors
    if TORCHAUDIO in original_tensors:
        original_tensors = as_fairseq(original_tensors, config)
    encoder = HubertEncoder(config, tokenizer.tensors())
    rng = np.random.default_rng(_SEED)
    with fairseq_at_hand():
        from fairseq.models.hubert.hubert import HubertConfig, HubertModel

        sizes = HubertConfig(
            label_rate=config.sample_rate / config.hop_samples,
            encoder_layers=checkpoint.model.get("encoder_layers", config.layer),
            encoder_embed_dim=config.dim,
            encoder_ffn_embed_dim=config.ffn_dim,
            encoder_attention_heads=config.heads,
            # fairseq evaluates this text as Python, so it is made of checked numbers.
            conv_feature_layers=str([tuple(int(number) for number in layer) for layer in config.conv_layers]),
            conv_pos=config.pos_conv_kernel,
            conv_pos_groups=config.pos_conv_groups,
        )
        original = HubertModel(sizes, SimpleNamespace(sample_rate=config.sample_rate), [None])
        original.remove_pretraining_modules()
        tensors = {name: tensor.float() for name, tensor in original_tensors.items() if not name.startswith(_HEADS)}
        # Used in training alone; torchaudio leaves it out.
        tensors.setdefault("mask_emb", torch.zeros(config.dim))
        original.load_state_dict(tensors, strict=True)
        original.eval()
        differences = []
        for samples in _SAMPLES:
            wave = rng.uniform(-0.5, 0.5, size=samples).astype(np.float32)
            theirs, _ = original.extract_features(torch.from_numpy(wave)[None], mask=False, output_layer=config.layer)
            differences.append(float((encoder.features([wave])[0] - theirs[0]).abs().max()))
    return max(differences)
