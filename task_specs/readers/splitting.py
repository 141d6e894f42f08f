"""Drawing of train, valid and test splits, which depends only on names and a seed."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from task_specs.example import Split

SHARE = 0.1
"""Default share of valid and of test."""

_MOST_PER_CLASS = 2**27 - 1


@dataclass(frozen=True)
class Division:
    """Splits of utterances.

    Attributes:
        splits: split of each utterance.
        undivided: labels with fewer than three speakers, whose utterances were split regardless of speakers.
    """

    splits: list[Split]
    undivided: tuple[str, ...] = ()


def by_speaker_hash(name: str) -> Split:
    """Return the split of a Speech Commands file ``<speaker>_nohash_<n>.wav``: a tenth each valid and test, by speaker.

    Source: ``which_set`` of Google's speech_commands example and of the data set's own README.
    """
    speaker = re.sub(r"_nohash_.*$", "", name)
    # The published rule; the hash need not be secure.
    digest = hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest()
    percent = (int(digest, 16) % (_MOST_PER_CLASS + 1)) * (100.0 / _MOST_PER_CLASS)
    return "valid" if percent < 10 else "test" if percent < 20 else "train"


def at_random(names: Sequence[str], *, seed: int, valid: float = SHARE, test: float = SHARE) -> list[Split]:
    """Return random splits regardless of speakers: ``valid`` and ``test`` are shares of the number, rounded down."""
    order = shuffled(names, seed)
    tested, validated = int(len(names) * test), int(len(names) * valid)
    chosen: dict[str, Split] = dict.fromkeys(order[:tested], "test")
    chosen |= dict.fromkeys(order[tested : tested + validated], "valid")
    return [chosen.get(name, "train") for name in names]


def shuffled(names: Iterable[str], seed: int | str) -> list[str]:
    """Return the names in the order of their hashes with the seed, which is the same in all versions of all
    libraries."""
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
    """Split utterances so that no speaker is in two splits and every label is in all three.

    Labels are processed by their number of speakers, fewest first: speakers, in a seeded order, go to test until it has
    its share of the label's utterances, then to valid; the others go to train. The utterances of a label with fewer
    than three speakers are split at random, and the result names the label.

    Args:
        labels: label of each utterance.
        speakers: speaker of each utterance.
        names: unique name of each utterance.
        seed: seed of the order of speakers.
        valid: share of valid.
        test: share of test; 0 if there is a given test split.
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
                # Each label must keep a speaker for train, and this label also one for the later split.
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
