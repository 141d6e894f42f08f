"""The baselines by the name that a job file gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from workers.baselines.baseline import Baseline

BASELINES: Final[Mapping[str, Baseline]] = {
    "majority": Baseline("majority", "workers.baselines.majority"),
    "ngrams": Baseline("unit 1-3-grams, logistic regression", "workers.baselines.ngrams"),
    "probe": Baseline("mean LM states, logistic regression", "workers.baselines.linear_probe", needs_lm=True),
    "cnn": Baseline("small CNN on units", "workers.baselines.cnn", gains_from_gpu=True),
    "encoder": Baseline(
        "mean features of the tokenizer, logistic regression", "workers.baselines.encoder", needs_features=True
    ),
}
