"""The baselines by the name that a job file gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from workers.baselines.baseline import Baseline
from workers.baselines.cnn import cnn
from workers.baselines.encoder import encoder
from workers.baselines.linear_probe import linear_probe
from workers.baselines.majority import majority
from workers.baselines.ngrams import ngrams

BASELINES: Final[Mapping[str, Baseline]] = {
    "majority": Baseline("majority", majority),
    "ngrams": Baseline("unit 1-3-grams, logistic regression", ngrams),
    "probe": Baseline("mean LM states, logistic regression", linear_probe, needs_lm=True),
    "cnn": Baseline("small CNN on units", cnn, gains_from_gpu=True),
    "encoder": Baseline("mean features of the tokenizer, logistic regression", encoder, needs_features=True),
}
