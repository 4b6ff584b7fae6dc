"""Two threads while one core is busy elsewhere, beside one thread on a quiet machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.driver import Job, Patience, Track, Worker, sample
from benchmarks.engines import Engine
from benchmarks.figures import Spread, figure
from benchmarks.prepare import Missing
from benchmarks.report import goal_of, table

GOAL = 0.9
#: The engines of the comparison, by name.
NAMES = ("smelt int4", "smelt int4, int8 inputs", "llama.cpp Q4_0", "OpenVINO GenAI int4")
#: Short ones: an engine whose threads wait for each other by spinning takes very long.
JOBS = (
    Job("prefill", {"run": "prefill", "tokens": 256}, 256),
    Job("decode", {"run": "decode", "past": 32, "tokens": 32}, 32),
)


def chapter(
    engines: Sequence[tuple[Engine, Path]],
    *,
    peers: Path,
    repeat: int,
    patience: Patience,
    say: Callable[[str], None],
) -> str:
    """The table, and why an engine is not in it."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) != 2:
        return f"Not measured: it is about two cores, this machine has {len(cores)}."
    rows, missing = [], []
    for engine, model in engines:
        say(f"{engine.name} beside a neighbour")
        try:
            found = _measure(engine, model, cores[-1], peers, repeat, patience, say)
        except (Missing, OSError) as error:
            missing.append(f"- {engine.name} is missing: {error}")
            continue
        rows += [_row(engine, job, found[job.name]) for job in JOBS]
    head = ["tokens/s", "", "1 thread, alone", "2 threads beside it", "share", "goal"]
    return "\n\n".join([table(head, rows), *missing])


Pairs = list[tuple[float, float]]


def _measure(
    engine: Engine,
    model: Path,
    core: int,
    peers: Path,
    repeat: int,
    patience: Patience,
    say: Callable[[str], None],
) -> dict[str, Pairs]:
    """Seconds alone with one thread and beside a neighbour with two, round by round."""
    found: dict[str, Pairs] = {job.name: [] for job in JOBS}
    one = Worker(engine, model, peers, 1)
    try:
        two = Worker(engine, model, peers, 2)
    except Missing:
        one.close()
        raise
    try:
        for number in range(repeat + 1):
            for job in JOBS:
                alone = sample(one, Track(engine, 1), job, patience, say).seconds
                with busy(core):
                    beside = float(two.ask(job.request)["seconds"])
                if number:
                    found[job.name].append((alone, beside))
    finally:
        one.close()
        two.close()
    return found


@contextmanager
def busy(core: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing else than keep one core busy."""
    program = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()


def _row(engine: Engine, job: Job, pairs: Pairs) -> list[str]:
    alone, beside = (
        Spread.of(figure(job, seconds) for seconds in side).show(0)
        for side in zip(*pairs, strict=True)
    )
    share = median(one / two for one, two in pairs)
    verdict = goal_of(share, GOAL) if engine.ours else "–"
    return [engine.name, job.name, alone, beside, f"{share:.2f}", verdict]
