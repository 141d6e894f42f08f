"""All benchmarks in one table.

    python -m benchmarks [--only NAME ...] [--busy] [--out FILE]

Every benchmark runs in a process of its own. One with ``measure`` gives rows of the table; of any other, what it
prints is shown as it is.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter

import torch

from benchmarks.suite import names, run
from workers.precision import has_bf16_units


def main() -> None:
    """Run them and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names(), default=names())
    parser.add_argument("--busy", action="store_true", help="others use the machine: one thread, by processor time")
    parser.add_argument("--out", type=Path, help="write the table there too")
    options = parser.parse_args()
    units = "with" if has_bf16_units(torch.device("cpu")) else "without"
    mode = "one thread by processor time" if options.busy else f"{torch.get_num_threads()} threads"
    parts = [f"torch {torch.__version__}, CPU {units} bf16 units, {mode}"]
    print(parts[0], flush=True)
    for name in options.only:
        started = perf_counter()
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            parts.append(pool.submit(run, name, options.busy).result())
        print(f"\n{parts[-1]}", flush=True)
        print(f"{name}: {perf_counter() - started:.0f} s", file=sys.stderr)
    if options.out:
        options.out.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
