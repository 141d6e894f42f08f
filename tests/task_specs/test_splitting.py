"""Divisions that are drawn: complete, apart, and the same wherever they are drawn."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from task_specs.example import SPLITS
from task_specs.readers.splitting import at_random, by_speaker_hash, shuffled, speakers_apart

UTTERANCES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=80)


@given(UTTERANCES, st.integers(0, 5))
def test_speakers_are_apart_and_labels_everywhere(utterances: list[tuple[str, int]], seed: int) -> None:
    """Each speaker has one label, so that it can always be done."""
    labels = [label for label, _ in utterances]
    speakers = [f"{label}{speaker}" for label, speaker in utterances]
    names = list(map(str, range(len(utterances))))
    division = speakers_apart(labels, speakers, names, seed=seed)
    voices = {
        label: {speaker for said, speaker in zip(labels, speakers, strict=True) if said == label} for label in labels
    }
    assert set(division.undivided) == {label for label in voices if len(voices[label]) < 3}
    for label in set(labels) - set(division.undivided):
        splits = {place: split for place, split in enumerate(division.splits) if labels[place] == label}
        assert set(splits.values()) == set(SPLITS)
        for speaker in voices[label]:
            assert len({split for place, split in splits.items() if speakers[place] == speaker}) == 1


@given(UTTERANCES, st.integers(0, 5))
def test_speakers_of_several_labels_stay_apart(utterances: list[tuple[str, int]], seed: int) -> None:
    labels = [label for label, _ in utterances]
    speakers = [str(speaker) for _, speaker in utterances]
    division = speakers_apart(labels, speakers, list(map(str, range(len(utterances)))), seed=seed)
    splits: dict[str, set[str]] = {}
    for label, speaker, split in zip(labels, speakers, division.splits, strict=True):
        if label not in division.undivided:
            splits.setdefault(speaker, set()).add(split)
    assert all(len(where) == 1 for where in splits.values())
    for label in set(labels) - set(division.undivided):
        assert "train" in {split for said, split in zip(labels, division.splits, strict=True) if said == label}


@given(st.lists(st.text(max_size=6), unique=True, max_size=60), st.integers(0, 9), st.randoms())
def test_the_order_in_which_files_are_listed_does_not_matter(names: list[str], seed: int, order: object) -> None:
    drawn = dict(zip(names, at_random(names, seed=seed, valid=0.2), strict=True))
    mixed = list(names)
    order.shuffle(mixed)  # type: ignore[attr-defined]
    assert dict(zip(mixed, at_random(mixed, seed=seed, valid=0.2), strict=True)) == drawn
    counts = Counter(drawn.values())
    assert (counts["test"], counts["valid"]) == (int(0.1 * len(names)), int(0.2 * len(names)))


def test_seeds_draw_differently_and_always_alike() -> None:
    names = [f"{number}.wav" for number in range(6)]
    assert shuffled(names, 0) == ["4.wav", "5.wav", "1.wav", "0.wav", "3.wav", "2.wav"]
    assert shuffled(names, 0) != shuffled(names, 1)


def test_the_hash_is_that_of_the_published_validation_list() -> None:
    """Files of validation_list.txt and testing_list.txt of Speech Commands, which was made by this rule."""
    assert by_speaker_hash("0a7c2a8d_nohash_0.wav") == by_speaker_hash("0a7c2a8d_nohash_3.wav")
    assert Counter(by_speaker_hash(f"{number:08x}_nohash_0.wav") for number in range(1000))["train"] > 750
