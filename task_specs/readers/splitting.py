"""Divisions into train, valid and test for data sets that come without one. They depend on names and a seed only."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from task_specs.example import Split

SHARE = 0.1
"""Of valid and of test, where nothing else is said."""

_MOST_PER_CLASS = 2**27 - 1


@dataclass(frozen=True)
class Division:
    """A division of utterances.

    Attributes:
        splits: one per utterance.
        undivided: labels with fewer than three speakers, whose utterances were divided regardless of the speaker.
    """

    splits: list[Split]
    undivided: tuple[str, ...] = ()


def by_speaker_hash(name: str) -> Split:
    """The split of a Speech Commands file ``<speaker>_nohash_<n>.wav``: a tenth each of valid and test, by speaker.

    Source: ``which_set`` of Google's speech_commands example and of the data set's own README.
    """
    speaker = re.sub(r"_nohash_.*$", "", name)
    # The published rule; the hash only spreads names.
    digest = hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest()
    percent = (int(digest, 16) % (_MOST_PER_CLASS + 1)) * (100.0 / _MOST_PER_CLASS)
    return "valid" if percent < 10 else "test" if percent < 20 else "train"


def at_random(names: Sequence[str], *, seed: int, valid: float = SHARE, test: float = SHARE) -> list[Split]:
    """Splits of utterances, whoever speaks: ``valid`` and ``test`` are shares of their number, rounded down."""
    order = shuffled(names, seed)
    tested, validated = int(len(names) * test), int(len(names) * valid)
    chosen: dict[str, Split] = dict.fromkeys(order[:tested], "test")
    chosen |= dict.fromkeys(order[tested : tested + validated], "valid")
    return [chosen.get(name, "train") for name in names]


def shuffled(names: Iterable[str], seed: int | str) -> list[str]:
    """The names in the order of their hashes with the seed: the same everywhere, and in any version of a library."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())


def speakers_apart(
    labels: Sequence[str],
    speakers: Sequence[str],
    names: Sequence[str],
    *,
    seed: int,
    valid: float = SHARE,
    test: float = SHARE,
) -> Division:
    """Divides utterances so that no speaker is in two splits and every label is in all three.

    Labels are served in order of their number of speakers, fewest first: speakers, in a seeded order, go to test until
    it has its share of the label's utterances, then to valid; whoever is left trains. A label with fewer than three
    speakers cannot be in three splits this way; its utterances are divided at random, and it is named in the result.

    Args:
        labels: one per utterance.
        speakers: one per utterance.
        names: one per utterance, no two the same.
        seed: of the order of speakers.
        valid: share of valid.
        test: share of test; 0 if test is given otherwise.
    """
    counts = Counter(zip(labels, speakers, strict=True))
    voices: dict[str, list[str]] = defaultdict(list)
    says: dict[str, list[str]] = defaultdict(list)
    for label, speaker in sorted(counts):
        voices[label].append(speaker)
        says[speaker].append(label)
    needed = 1 + (valid > 0) + (test > 0)
    divided = sorted(
        (label for label in voices if len(voices[label]) >= needed), key=lambda one: (len(voices[one]), one)
    )
    free = {label: len(voices[label]) for label in voices}
    chosen: dict[str, Split] = {}
    shares: tuple[tuple[Split, float, int], ...] = (("test", test, valid > 0), ("valid", valid, 0))
    for label in divided:
        order = shuffled(voices[label], f"{seed} {label}")
        total = sum(counts[label, speaker] for speaker in order)
        for split, share, later in shares:
            have = sum(counts[label, speaker] for speaker in order if chosen.get(speaker) == split)
            for speaker in order:
                # Whoever goes leaves one speaker of each of their labels to train, and one of this to the later split.
                spared = free[label] > 1 + later and all(free[said] > 1 for said in says[speaker])
                if have < share * total and speaker not in chosen and spared:
                    chosen[speaker] = split
                    have += counts[label, speaker]
                    free.update({said: free[said] - 1 for said in says[speaker]})
    undivided = tuple(sorted(set(voices) - set(divided)))
    splits: list[Split] = [chosen.get(speaker, "train") for speaker in speakers]
    for label in undivided:
        places = [
            place
            for place, (said, speaker) in enumerate(zip(labels, speakers, strict=True))
            if said == label and speaker not in chosen
        ]
        mixed = at_random([names[place] for place in places], seed=seed, valid=valid, test=test)
        for place, split in zip(places, mixed, strict=True):
            splits[place] = split
    return Division(splits, undivided)
