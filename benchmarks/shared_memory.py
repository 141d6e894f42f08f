"""Hypothesis: N workers on one machine hold one physical copy of the frozen LM between them.

Arms: N actors that attach a 151 M parameter LM (12 x 1024) from Ray's object store, and one that builds an LM of its
own. Headline: each worker's growth in private memory as a share of the LM's size (want: below 5 %), and the time to
attach (want: below 50 ms). Linux only: memory is read from /proc/self/smaps_rollup.

    python -m benchmarks.shared_memory [--workers N] [--layers L] [--dim D]
"""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from rich.console import Console
from rich.table import Table

from orchestrator.cluster.local_ray import local_ray
from workers.backbone.directory import lm_fingerprint
from workers.backbone.sharing import SharedLM
from workers.unit_lm.engine.rows import Rows
from workers.unit_lm.gslm.config import GSLMConfig
from workers.unit_lm.gslm.model import GSLM
from workers.unit_lm.unit_lm import UnitLM

MIB = 1 << 20


@dataclass(frozen=True)
class Memory:
    """Of one process, in bytes."""

    private: int
    shared: int
    proportional: int


@dataclass(frozen=True)
class Measured:
    """What one worker saw."""

    before: Memory
    attached: Memory
    used: Memory
    attach_seconds: float
    verify_seconds: float
    identical: bool


def memory() -> Memory:
    """This process's resident memory: private pages, shared pages, and its proportional share of all."""
    fields = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        fields[name] = int(value.split()[0]) * 1024
    return Memory(
        private=fields["Private_Clean"] + fields["Private_Dirty"],
        shared=fields["Shared_Clean"] + fields["Shared_Dirty"],
        proportional=fields["Pss"],
    )


def forward(lm: UnitLM) -> None:
    """Touch every weight once."""
    lengths = np.full(4, 20, dtype=np.int64)
    rows = Rows.of_units([np.full(length - 1, 5) for length in lengths], None, start=5, device="cpu")
    with torch.no_grad():
        lm.logits(lm(lm.embed_rows(rows), rows.packing))


class Worker:
    """Holds an LM, its own or the shared one."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        # Libraries are imported and allocate when first used; that is neither the LM's time nor its memory.
        config = GSLMConfig(layers=1, dim=32, heads=2, ffn_dim=64)
        tiny = GSLM(config)
        tiny.initialise(0)
        forward(SharedLM(config, (), {name: p.detach().numpy() for name, p in tiny.named_parameters()}, "").attach())

    def attach(self, shared: list[ray.ObjectRef[SharedLM]]) -> Measured:
        """Attach the shared LM, run it, verify it."""
        before = memory()
        started = time.perf_counter()
        received: SharedLM = ray.get(shared[0])
        self._lm = received.attach()
        seconds = time.perf_counter() - started
        attached = memory()
        forward(self._lm)
        used = memory()
        started = time.perf_counter()
        received.verify()
        own = dict(self._lm.named_parameters())
        identical = all(own[name].data_ptr() == array.ctypes.data for name, array in received.tensors.items())
        return Measured(before, attached, used, seconds, time.perf_counter() - started, identical)

    def copy(self, config: GSLMConfig) -> Measured:
        """Build an LM of this worker's own, and run it."""
        before = memory()
        started = time.perf_counter()
        self._lm = GSLM(config)
        self._lm.initialise(0)
        seconds = time.perf_counter() - started
        attached = memory()
        forward(self._lm)
        return Measured(before, attached, memory(), seconds, 0.0, False)


def main() -> None:
    """Measure both arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--dim", type=int, default=1024)
    options = parser.parse_args()
    config = GSLMConfig(layers=options.layers, dim=options.dim, heads=16, ffn_dim=4 * options.dim)
    lm = GSLM(config)
    lm.initialise(0)
    tensors = {name: parameter.detach().numpy() for name, parameter in lm.named_parameters()}
    size = sum(array.nbytes for array in tensors.values())
    units = tuple(range(4, 104))
    shared = SharedLM(config, units, tensors, lm_fingerprint(config, units, tensors))

    with local_ray(num_cpus=2, logging_level=logging.ERROR):
        reference = ray.put(shared)
        actor: Any = ray.remote(num_cpus=0)(Worker)
        sharing = [actor.remote() for _ in range(options.workers)]
        attached: list[Measured] = ray.get([worker.attach.remote([reference]) for worker in sharing])
        copying = actor.remote()
        copied: Measured = ray.get(copying.copy.remote(config))
    assert all(measured.identical for measured in attached)

    console = Console(width=120)
    console.print(f"LM of {size / 4 / 1e6:.1f} M parameters, {size / MIB:.0f} MiB; {options.workers} workers")
    table = Table("worker", "private growth", "of the LM", "shared growth", "attach", "verify")
    for name, measured in [*((f"shared {i}", m) for i, m in enumerate(attached)), ("own copy", copied)]:
        growth = measured.used.private - measured.before.private
        table.add_row(
            name,
            f"{growth / MIB:.1f} MiB",
            f"{100 * growth / size:.1f} %",
            f"{(measured.used.shared - measured.before.shared) / MIB:.0f} MiB",
            f"{1000 * measured.attach_seconds:.1f} ms",
            f"{1000 * measured.verify_seconds:.0f} ms" if measured.verify_seconds else "",
        )
    console.print(table)
    # Pages that k workers map count 1/k in each one's proportional share, so their sum counts every page once.
    together = sum(measured.used.proportional - measured.before.proportional for measured in attached)
    alone = copied.used.private - copied.before.private
    console.print(
        f"{options.workers} workers grew by {together / size:.2f} LMs together; a copy each would be "
        f"{options.workers * alone / size:.2f}: ratio {options.workers * alone / together:.1f}"
    )


if __name__ == "__main__":
    main()
