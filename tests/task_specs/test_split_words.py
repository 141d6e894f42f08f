"""The words for train, valid and test."""

from __future__ import annotations

import pytest

from task_specs.split_words import split_of, splits_of


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train", ["train", "Train", "TRAIN", " train ", "training", "Training", "trn", "train_set", "TrainData"]),
        ("valid", ["valid", "val", "Val", "validation", "VALIDATION", "dev", "Dev", "devel", "development", "val-set"]),
        ("test", ["test", "Test", "testing", "TEST", "tst", "test set"]),
        (None, ["eval", "evaluation", "fold1", "", "other", "trains", "tests", "0", "validated"]),
    ],
)
def test_words_mean_a_split_in_any_case(split: str | None, words: list[str]) -> None:
    assert {split_of(word) for word in words} == {split}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["train", "dev", "eval"], {"train": "train", "dev": "valid", "eval": "test"}),
        (["Train", "Eval", "Test"], {"Train": "train", "Eval": "valid", "Test": "test"}),
        (["train", "eval"], {"train": "train"}),
        (["train", "dev", "eval", "test"], {"train": "train", "dev": "valid", "test": "test"}),
        (["train", "dev_set", "eval_set"], {"train": "train", "dev_set": "valid", "eval_set": "test"}),
        (["train", "evaluation", "val", "x"], {"train": "train", "evaluation": "test", "val": "valid"}),
        ([], {}),
    ],
)
def test_eval_is_what_the_others_leave(words: list[str], meant: dict[str, str]) -> None:
    assert splits_of(words) == meant
