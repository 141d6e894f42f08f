"""Decoding under mutations of real recordings that know how these files are built.

    python -m benchmarks.fuzzing.audio [--executions 200000] [--seed 0] [--out DIRECTORY]

Every input must be decoded or quarantined with a reason, in bounded time and memory, and read no further than its
policy keeps; what is heard must be finite and own its memory; a recording whose end is missing must not pass for a
whole one. Ends with 1 if something did not hold; the inputs lie in the directory then.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from benchmarks.fuzzing.mutations import Mutated, mutated
from benchmarks.fuzzing.recordings import POLICIES, SAMPLE_RATE, Broken, check, check_whole, seeds
from task_specs.audio_policy import AudioPolicy
from workers.speech.audio import RejectedAudio, decode

_MP3_TOLERANCE_SAMPLES = 3 * 1152


class Pool:
    """Whole recordings, and what must hold of what becomes of them."""

    def __init__(self) -> None:
        self.seeds = seeds()
        for seed in self.seeds:
            check_whole(seed)
        self._lengths = {seed.data: len(decode(seed.data, name="seed", sample_rate=SAMPLE_RATE)) for seed in self.seeds}

    def draw(self, random: np.random.Generator) -> tuple[Mutated, AudioPolicy]:
        """A mutated recording, and a policy to hear it with."""
        case = mutated(self.seeds, random)
        # What is missing shows only where all of it is wanted.
        return case, POLICIES[-1] if case.left is not None else POLICIES[random.integers(len(POLICIES))]

    def check(self, case: Mutated, policy: AudioPolicy) -> str:
        """What becomes of it in one or two words.

        Raises:
            Broken: something does not hold.
        """
        heard = check(case.data, policy)
        if isinstance(heard, RejectedAudio):
            return heard.kind
        lost = self._lengths[case.seed.data] - len(heard)
        if case.left is not None and lost > (_MP3_TOLERANCE_SAMPLES if case.seed.format == "MP3" else 0):
            raise Broken(f"{case.left} of {len(case.seed.data)} bytes passed for the whole, {lost} samples short")
        return "heard"


def main() -> None:
    """Fuzz and print what became of the inputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where crashing inputs stay; default: a temporary directory")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp(prefix="speechprompt-fuzz-"))
    out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    pool, random = Pool(), np.random.default_rng(options.seed)
    # Decoders complain of every input on the stream of errors.
    report = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    outcomes: Counter[str] = Counter()
    broken, slowest, begin = 0, 0.0, time.perf_counter()
    for number in range(options.executions):
        case, policy = pool.draw(random)
        began = time.process_time()
        try:
            outcome = pool.check(case, policy)
        except Exception as error:  # noqa: BLE001  it is counted and kept
            broken, outcome = broken + 1, "BROKEN"
            (out / f"{options.seed}-{number}.{case.seed.format.lower()}").write_bytes(case.data)
            print(f"{number}: {case.seed.format}: {type(error).__name__}: {error}", file=report)
        outcomes[f"{case.seed.format}: {outcome}"] += 1
        slowest = max(slowest, time.process_time() - began)
        if (number + 1) % 10_000 == 0:
            print(f"{number + 1:,} after {time.perf_counter() - begin:.0f} s, {broken} broken", file=report)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print("| outcome | inputs |\n|---|---|")
    for name, count in sorted(outcomes.items()):
        print(f"| {name} | {count:,} |")
    spent = time.perf_counter() - begin
    print(f"\n{options.executions:,} executions in {spent:.0f} s, slowest {slowest:.2f} s of processor, ", end="")
    print(f"peak memory {peak} MiB, {broken} broken; inputs in {out}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
