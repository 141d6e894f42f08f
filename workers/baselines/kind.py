"""The baselines there are."""

from __future__ import annotations

from typing import Literal, get_args

BaselineKind = Literal["majority", "ngrams", "probe"]
"""``majority``: always the most frequent answer; ``ngrams``: logistic regression on unit n-grams; ``probe``: logistic
regression on mean states of the frozen LM."""

NEEDS_LM: frozenset[BaselineKind] = frozenset({"probe"})
BASELINES: tuple[BaselineKind, ...] = get_args(BaselineKind)
