"""What a checkpoint is that was given as something else, told by the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from infra.errors import BackboneError
from infra.printable import in_ascii

Wanted = Literal["unit LM", "speech encoder"]


class _Kind(NamedTuple):
    """Names that only this kind has, what it is, and what it is good for here, if for anything."""

    names: str
    what: str
    serves: Wanted | Literal["prompt"] | None = None


_REMEDIES: Final[Mapping[Wanted, str]] = {
    "speech encoder": "give the pretrained HuBERT, hubert_base_ls960.pt, with --hubert",
    "unit LM": "give the checkpoint_best.pt of a unit LM with --lm",
}
_PLACES: Final[Mapping[str, str]] = {
    "speech encoder": "give it with --hubert",
    "unit LM": "give it with --lm",
    "prompt": "see 'speechprompt bundle import'",
}
_FINE_TUNED = "a speech encoder fine-tuned for recognition, with CTC or alike, whose features nobody clustered"
# The first of which a name is there; what was made out of a model stands before the model.
_KINDS: Final = (
    _Kind(r"(.*\.)?w2v_(encoder|model)\.|aux\.(weight|bias)$", _FINE_TUNED),
    _Kind(r"((hubert|wav2vec2)\.)?feature_projection\.", "a speech encoder of Hugging Face"),
    _Kind(r"quantizer\.|project_q\.", "a wav2vec 2.0, whose features are others"),
    _Kind(r".*(relative_attention_bias|grep_linear|gru_rel_pos)", "a WavLM, whose features are others"),
    _Kind(r"feature_extractor\.conv_layers\.[1-9]\.(2\.1|layer_norm)\.", "a HuBERT larger than base"),
    _Kind(r"feature_extractor\.", "a HuBERT checkpoint", "speech encoder"),
    _Kind(
        r"decoder\.(sep_embed|prefix_embed_prompts|deep_key_embed_prompts)\.",
        "a prompt of the reference code",
        "prompt",
    ),
    _Kind(r"encoder\.", "a model with an encoder of text"),
    _Kind(r"decoder\.embed_tokens\.", "a unit LM", "unit LM"),
    _Kind(r"(transformer\.)?(wte|h)\.|(model\.)?(embed_tokens|layers)\.", "an LM of Hugging Face"),
)


def check_kind(names: Iterable[str], place: str, wanted: Wanted) -> None:
    """Refuse the tensors of another kind of model.

    Raises:
        BackboneError: they are of one that is known; the error says which, by the name of a tensor.
    """
    names = list(names)
    for kind in _KINDS:
        if name := next((name for name in names if re.match(kind.names, name)), None):
            if kind.serves != wanted:
                remedy = _REMEDIES[wanted] if kind.serves is None else _PLACES[kind.serves]
                raise BackboneError(f"{place}: this is {kind.what} (it has {in_ascii(name)}); {remedy}")
            return
