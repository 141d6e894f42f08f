"""Logistic regression on unit n-grams: what the units tell without any language model."""

from __future__ import annotations

import numpy as np

from task_specs.example import SPLITS
from workers.baselines.baseline import BaselineTask, Fitted
from workers.baselines.logistic import logistic
from workers.speech.sequences import UnitSequences

LONGEST = 3
"""Units of the longest n-gram."""
MOST_FEATURES, MOST_WEIGHTS = 100_000, 20_000_000
"""N-grams at most, the most frequent ones of the training split, and weights of one slot at most."""
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)


def ngrams(task: BaselineTask) -> Fitted:
    """TF-IDF of 1- to 3-grams of units (1 + log of the count, rows of norm 1), then logistic regression.

    Durations and F0 are not looked at.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        lowercase=False,
        token_pattern=r"\S+",  # noqa: S106
        ngram_range=(1, LONGEST),
        sublinear_tf=True,
        max_features=min(MOST_FEATURES, MOST_WEIGHTS // max(task.classes)),
        dtype=np.float32,
    )
    splits = task.examples.splits
    vectorizer.fit(_sentences(splits["train"].units))
    features = {split: vectorizer.transform(_sentences(splits[split].units)) for split in SPLITS}
    return logistic(features, task, strengths=STRENGTHS)


def _sentences(units: UnitSequences) -> list[str]:
    return [" ".join(map(str, units[row])) for row in range(len(units))]
