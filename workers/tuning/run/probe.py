"""How many lanes should share a pass, measured: a few real optimizer steps of gangs of 1, 2, 4, ... lanes.

Also on CPUs, where it depends on the LM: on one core eight lanes of 4 x 192 take 1.75 times the lane steps of one;
those of a full-size LM save little and take the memory of eight.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from workers.precision import Precision
from workers.tuning.step.gang import Gang
from workers.tuning.step.lane import Lane
from workers.tuning.step.memory import is_out_of_memory
from workers.unit_lm.unit_lm import UnitLM

WORTHWHILE = 1.10
"""A larger gang must take so many times as many lane steps a second as the one before."""
BUDGET_SECONDS = 8.0
STEPS, STEP_SECONDS = 4, 1.0
"""Steps that are timed at most, and seconds after which no further one is."""
MEMORY_SHARE = 0.8
"""Of the memory at hand, which evaluations and fragmentation want some of."""
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Measured:
    """A gang of some size.

    Attributes:
        lanes: that share the pass.
        seconds: of one optimizer step of all of them, the fastest seen.
        memory: bytes that it takes at its peak, besides the LM.
    """

    lanes: int
    seconds: float
    memory: int

    @property
    def rate(self) -> float:
        """Lane steps per second."""
        return self.lanes / self.seconds


def measure_gangs(
    lm: UnitLM,
    lanes: Callable[[int], Sequence[Lane]],
    *,
    most: int,
    share: float,
    precision: Precision,
    budget: float = BUDGET_SECONDS,
) -> list[Measured]:
    """Time gangs of doubling size until that pays no longer, memory is short, or time is up.

    Args:
        lm: the LM, on its device.
        lanes: makes so many fresh lanes, fewer if it cannot.
        most: lanes of the largest gang that would be of use.
        share: of the device's memory that this process may use.
        precision: of the LM's matrix products.
        budget: seconds in all.
    """
    deadline = time.monotonic() + budget
    memory = share * MEMORY_SHARE * _memory_at_hand(lm.device)
    found: list[Measured] = []
    size = 1
    while size <= most:
        gang = Gang(lm, lanes(size), precision=precision)
        if len(gang.lanes) < size:
            break
        try:
            found.append(_measure(gang, deadline))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            break
        last = found[-1]
        if len(found) > 1 and last.rate < WORTHWHILE * found[-2].rate:
            break
        if 2 * last.memory > memory or time.monotonic() + 4 * last.seconds > deadline:
            break
        size = min(2 * size, most) if size < most else most + 1
    return found


def best_width(measured: Sequence[Measured]) -> int:
    """The largest gang that was worthwhile, 1 if none was measured."""
    width, rate = 1, 0.0
    for one in measured:
        if one.rate < WORTHWHILE * rate:
            break
        width, rate = one.lanes, one.rate
    return width


def _measure(gang: Gang, deadline: float) -> Measured:
    peak = _Peak(gang.device)
    # Not ``advance``, which goes on with fewer lanes a pass where they do not fit.
    gang.step(gang.lanes)  # kernels are chosen, caches filled
    seconds: list[float] = []
    while not seconds or (len(seconds) < STEPS and sum(seconds) < STEP_SECONDS and time.monotonic() < deadline):
        _wait(gang.device)
        started = time.perf_counter()
        gang.step(gang.lanes)
        _wait(gang.device)
        seconds.append(time.perf_counter() - started)
    return Measured(len(gang.lanes), min(seconds), peak.bytes())


class _Peak:
    """Bytes taken since it was made, at their peak."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
            return
        # Linux forgets the peak so far; elsewhere only what goes beyond it is seen.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _resident_peak()

    def bytes(self) -> int:
        now = torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else _resident_peak()
        return max(0, now - self._before)


def _resident_peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _memory_at_hand(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return min(1024 * _fields("/proc/meminfo").get("MemAvailable:", 1 << 52), _left_to_container())


def _left_to_container() -> int:
    """Bytes below the limit of this process's control group, of which the machine's own count knows nothing."""
    for limit, taken, kind in (
        ("memory.max", "memory.stat", "anon"),
        ("memory/memory.limit_in_bytes", "memory/memory.stat", "total_rss"),
    ):
        with contextlib.suppress(OSError, ValueError):  # there is no such group, or its limit is "max"
            return max(0, int((CGROUPS / limit).read_text()) - _fields(str(CGROUPS / taken))[kind])
    return 1 << 62


def _fields(file: str) -> dict[str, int]:
    """The first two words of each line; nothing where there is no such file."""
    try:
        return {name: int(value) for name, value, *_ in map(str.split, Path(file).read_text().splitlines())}
    except OSError:
        return {}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
