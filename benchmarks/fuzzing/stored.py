"""Readers of what jobs and people store, under damage that knows how these files are built.

    python -m benchmarks.fuzzing.stored [--executions 20000] [--seed 0] [--kinds KIND ...] [--out DIRECTORY]

Damaged files must be refused by name, or read as what was written (where digests were forged: as something that holds
together), in bounded time, and in no more memory than four times their size and a fixed amount. Ends with 1 if
something did not hold; the files lie in the directory then.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.fuzzing.job_files import JOB_KINDS
from benchmarks.fuzzing.published_files import PUBLISHED_KINDS
from benchmarks.fuzzing.stored_kind import Files, StoredKind
from benchmarks.fuzzing.stored_pool import StoredPool

KINDS: Final[dict[str, StoredKind]] = {**PUBLISHED_KINDS, **JOB_KINDS}
_ADDRESSES_BYTES: Final = 2 << 30
_REPORT_EVERY: Final = 5_000


def main() -> None:
    """Damage each kind in turn and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=20_000, help="of each kind (default: 20000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--out", type=Path, help="where broken inputs stay; default: a temporary directory")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp(prefix="speechprompt-fuzz-"))
    print("| kind | what | executions | accepted | refused | not there | slowest | broken |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    broken = sum(_fuzz(name, options.executions, options.seed, out) for name in options.kinds)
    if broken:
        print(f"\n{broken} broken; see {out}", file=sys.stderr)
    sys.exit(1 if broken else 0)


def _fuzz(name: str, executions: int, seed: int, out: Path) -> int:
    # In memory where there is such a place: a disk would set the pace.
    shared = Path("/dev/shm")  # noqa: S108
    outcomes: Counter[str] = Counter()
    slowest, begin = 0.0, time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="spfuzz", dir=shared if shared.is_dir() else None) as directory:
        pool = StoredPool(KINDS[name], Path(directory))
        _limit_addresses()
        for number in range(executions):
            files, done = pool.damaged(Random(f"{seed}/{name}/{number}"))  # noqa: S311
            began = time.perf_counter()
            try:
                outcome = pool.check(files)
            except Exception as error:  # noqa: BLE001  it is counted and kept
                outcome = "broken"
                _keep(out / f"{name}-{seed}-{number}", files)
                said = traceback.format_exc() if outcomes[outcome] < 3 else f"{type(error).__name__}: {error}"
                print(f"{name} {number} ({', '.join(done)}): {said}", file=sys.stderr)
            outcomes[outcome] += 1
            slowest = max(slowest, time.perf_counter() - began)
            if (number + 1) % _REPORT_EVERY == 0:
                spent = time.perf_counter() - begin
                print(f"{name}: {number + 1:,} in {spent:.0f} s, {outcomes['broken']} broken", file=sys.stderr)
    counts = " | ".join(f"{outcomes[outcome]:,}" for outcome in ("accepted", "refused", "not there"))
    print(
        f"| {name} | {KINDS[name].what} | {executions:,} | {counts} | {slowest:.2f} s | {outcomes['broken']} |",
        flush=True,
    )
    return outcomes["broken"]


def _limit_addresses() -> None:
    """So that an allocation of what a file announces fails even if nothing of it would be touched."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _ADDRESSES_BYTES, hard))


def _keep(place: Path, files: Files) -> None:
    for name, data in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else f"(here lay {data.value})\n".encode())


if __name__ == "__main__":
    main()
