"""The original files of a backbone, and what a user says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OriginalFiles:
    """Where they are, local or S3, and what they do not say themselves.

    Attributes:
        lm: checkpoint of the unit LM, GSLM or pGSLM.
        dictionary: its ``dict.txt``; for GSLM only.
        hubert: checkpoint of the speech encoder; ``None`` for an LM whose units come with the data.
        kmeans: centroids of the encoder's features.
        layer: layer of the encoder whose features are clustered, from 1; ``None`` for that of the published units.
        f0_bins: edges between the F0 bins; for discrete prosody only.
        f0_mean: whose mean log F0 is subtracted, where the model was trained with one.
        heads: attention heads of the LM, if its checkpoint does not state them.
        tokenizer_name: which tokenizer makes the units, without ``hubert``.
    """

    lm: str
    dictionary: str | None = None
    hubert: str | None = None
    kmeans: str | None = None
    layer: int | None = None
    f0_bins: str | None = None
    f0_mean: Literal["speaker", "utterance"] | None = None
    heads: int | None = None
    tokenizer_name: str | None = None
