"""Hypothesis: lanes that share a pass take more steps per second together than one after another.

Arms, alternated, batch 4 a lane, a small LM (4 x 192) and the full-size one (12 x 1024), ``precision: auto``:

* one gang of 8 lanes;
* the same 8 lanes as gangs of one, in turn;
* two processes side by side, each with one lane and half of the cores.

Headline: lane steps per second of the gang relative to the others (no target on CPUs; on a GPU 5x at batch 4 and 2x at
batch 32 against the lanes in turn, and the share of the device's dense bf16 peak that the gang reaches).

A gang pays where a lane alone does not fill the device. On CPUs a full-size LM is busy with four rows already: there a
gang saves little more than the reading of the weights, and what it is good for is one copy of them and one process.

    python -m benchmarks.gangs [--rounds N] [--busy]
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from time import perf_counter

import torch

from benchmarks.result import Result, alternate, arguments, markdown, speed, speed_ratio
from benchmarks.workload import FULL, SMALL, frozen_lm, lane
from workers.tuning.step.gang import Gang
from workers.unit_lm.gslm.config import GSLMConfig
from workers.unit_lm.gslm.model import GSLM

TITLE = "Gangs of 8 lanes"
LANES = 8
DENSE_BF16_PEAK = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "L4": 121e12, "L40S": 362e12}
"""Of NVIDIA's data sheets, without sparsity, by a part of the device's name; FLOP/s."""


def together(lm: GSLM, batch_size: int) -> Callable[[], float]:
    """One step of all lanes in one gang."""
    gang = Gang(lm, [lane(lm, seed=seed, batch_size=batch_size) for seed in range(LANES)])

    def step() -> float:
        gang.step(gang.lanes)
        _finish(lm)
        return LANES

    return step


def in_turn(lm: GSLM, batch_size: int) -> Callable[[], float]:
    """One step of every lane by itself."""
    gangs = [Gang(lm, [lane(lm, seed=seed, batch_size=batch_size)]) for seed in range(LANES)]

    def step() -> float:
        for gang in gangs:
            gang.step(gang.lanes)
        _finish(lm)
        return LANES

    return step


def _finish(lm: GSLM) -> None:
    if lm.device.type == "cuda":
        torch.cuda.synchronize()


def _side(config: GSLMConfig, batch_size: int, threads: int, seed: int, orders: Connection) -> None:
    """A process with one lane: told for how many seconds to step, it answers with steps per second."""
    torch.set_num_threads(threads)
    lm = frozen_lm(config)
    gang = Gang(lm, [lane(lm, seed=seed, batch_size=batch_size)])
    gang.step(gang.lanes)
    while seconds := orders.recv():
        started, steps = perf_counter(), 0
        while perf_counter() - started < seconds:
            gang.step(gang.lanes)
            steps += 1
        orders.send(steps / (perf_counter() - started))


class SideBySide:
    """Two processes, each with one lane and half of the cores."""

    def __init__(self, config: GSLMConfig, batch_size: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        threads = max(1, torch.get_num_threads() // 2)
        self._orders, self._processes = [], []
        for seed in range(2):
            mine, theirs = spawn.Pipe()
            self._orders.append(mine)
            self._processes.append(spawn.Process(target=_side, args=(config, batch_size, threads, seed, theirs)))
            self._processes[-1].start()

    def steps_per_second(self, seconds: float) -> float:
        """Of both together."""
        for orders in self._orders:
            orders.send(seconds)
        return float(sum(orders.recv() for orders in self._orders))

    def close(self) -> None:
        for orders, process in zip(self._orders, self._processes, strict=True):
            orders.send(0)
            process.join()


def on_cpu(name: str, config: GSLMConfig, *, rounds: int, busy: bool) -> list[Result]:
    """The three arms with one LM."""
    lm, batch_size = frozen_lm(config), 4
    sides = None if busy else SideBySide(config, batch_size)
    side_speeds: list[float] = []
    arms = {"gang": together(lm, batch_size), "in turn": in_turn(lm, batch_size)}
    if sides is not None:

        def side_by_side() -> float:
            started = perf_counter()
            side_speeds.append(sides.steps_per_second(3.0))
            # Work in the time that the turn took, the start of the processes left out.
            return side_speeds[-1] * (perf_counter() - started)

        arms["side by side"] = side_by_side
    turns = alternate(arms, rounds=rounds, seconds=3.0, busy=busy)
    if sides is not None:
        sides.close()
    gang = speed(turns["gang"])
    return [
        Result(
            f"gang / {other}, {name}, batch {batch_size}, CPU",
            speed_ratio(turns, "gang", other),
            note=f"{gang:.1f} against {speed(turns[other]):.1f} lane steps/s",
        )
        for other in turns
        if other != "gang"
    ]


def on_gpu(config: GSLMConfig, batch_size: int, target: float, *, rounds: int) -> list[Result]:
    """A gang against its lanes in turn, and the share of the device's peak."""
    lm = frozen_lm(config).to("cuda")
    turns = alternate(
        {"gang": together(lm, batch_size), "in turn": in_turn(lm, batch_size)}, rounds=rounds, seconds=3.0
    )
    device = torch.cuda.get_device_name()
    note = f"{speed(turns['gang']):.1f} against {speed(turns['in turn']):.1f} lane steps/s, {device}"
    ratio = speed_ratio(turns, "gang", "in turn")
    results = [Result(f"gang / in turn, 12 x 1024, batch {batch_size}, GPU", ratio, target, note=note)]
    peak = next((peak for part, peak in DENSE_BF16_PEAK.items() if part in device.split()), None)
    if peak is not None:
        # Two operations a weight and token, forward and backward; utterances of 57 units, a start and a separator.
        flops = 4 * sum(p.numel() for p in lm.parameters()) * 59 * batch_size * speed(turns["gang"])
        results.append(Result(f"share of the dense bf16 peak, batch {batch_size}", flops / peak, note=device))
    return results


def measure(rounds: int = 3, *, busy: bool = False) -> list[Result]:
    """All there is a device for."""
    results = on_cpu("4 x 192", SMALL, rounds=rounds, busy=busy) + on_cpu("12 x 1024", FULL, rounds=rounds, busy=busy)
    if torch.cuda.is_available():
        results += on_gpu(FULL, 4, 5.0, rounds=rounds) + on_gpu(FULL, 32, 2.0, rounds=rounds)
    return results


if __name__ == "__main__":
    options = arguments(__doc__, rounds=3)
    print(markdown(TITLE, measure(options.rounds, busy=options.busy)))
