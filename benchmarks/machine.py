"""What the machine is, and whether somebody else computes on it now."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

# `cpu` in /proc/stat: user nice system idle iowait irq softirq steal; stolen ticks are another's.
_IDLE = (3, 4)


@dataclass(frozen=True)
class Ticks:
    """Clock ticks since the machine started, over all cores."""

    busy: int
    total: int


def machine_ticks(line: str | None = None) -> Ticks:
    """The ticks now, or those of a first line of /proc/stat."""
    if line is None:
        line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    values = [int(word) for word in line.split()[1:9]]
    idle = sum(values[index] for index in _IDLE)
    return Ticks(sum(values) - idle, sum(values))


def process_ticks(pid: int) -> int:
    """Ticks that a process and its children that ended took."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    fields = text.rpartition(")")[2].split()
    return sum(int(word) for word in fields[11:15])


def busy_cores(start: Ticks, end: Ticks, own: int = 0) -> float:
    """Cores in use between two moments, without one's own ticks."""
    total = end.total - start.total
    cores = os.cpu_count() or 1
    return max(0.0, cores * (end.busy - start.busy - own) / total) if total else 0.0


def wait_until_quiet(most: float, window: float, bound: float) -> tuple[float, float]:
    """Wait until at most so many cores are busy over a window: the load seen last, the wait."""
    start = time.monotonic()
    while True:
        before = machine_ticks()
        time.sleep(window)
        load = busy_cores(before, machine_ticks())
        waited = time.monotonic() - start
        if load <= most or waited >= bound:
            return load, waited


def cpu_has(feature: str) -> bool:
    """Whether the processor has a feature, by the kernel's name of it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return any(feature in line.split() for line in lines if line.startswith(("flags", "Features")))


def cpu_name() -> str:
    """The processor, as it calls itself, and how many cores we have."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    cores = len(os.sched_getaffinity(0))
    return f"{names[0] if names else platform.processor()}, {cores} cores"
