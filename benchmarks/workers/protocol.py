"""A worker's side of a benchmark: one engine behind JSON lines on standard input and output.

Needs the standard library only, because each peer runs in an environment of its own. A request is
`{"run": "prefill", "tokens": 512}`, or `decode` or `encode` with their own numbers; the answer is
`{"seconds": …}`, the engine's own work alone.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

# Ids that every vocabulary has and no engine treats as special.
_FIRST, _SPAN = 1000, 20000


def token_ids(count: int) -> list[int]:
    """The same pseudo-random ids for every engine."""
    return [_FIRST + (index * 7919) % _SPAN for index in range(count)]


def serve(open_engine: Callable[[Path, int], Any]) -> None:
    """Open what the command line names, say how long that took, then answer until input ends.

    The command line is MODEL THREADS. An engine has `version` and the runs that it knows as
    methods which give seconds. `first`, asked once and before all others, is a prefill where the
    engine has no method of that name.
    """
    answers = _own_output()
    model, threads = Path(sys.argv[1]), int(sys.argv[2])
    before = resident()
    start = time.perf_counter()
    engine = open_engine(model, threads)
    opened = getattr(engine, "open_seconds", time.perf_counter() - start)
    hello = {
        "open_seconds": opened,
        "version": engine.version,
        "before_bytes": before,
        "weight_bytes": getattr(engine, "weight_bytes", 0),
    }
    _say(answers, hello)
    for line in sys.stdin:
        request = json.loads(line)
        run = request.pop("run")
        if run == "first" and not hasattr(engine, run):
            run = "prefill"
        try:
            _say(answers, {"seconds": getattr(engine, run)(**request), "peak_bytes": peak()})
        except Exception as error:  # whatever an engine raises is its result
            _say(answers, {"error": f"{type(error).__name__}: {error}"})


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """Wall seconds from the start of the block to its end."""
    start = time.perf_counter()
    end = [0.0]
    yield lambda: end[0]
    end[0] = time.perf_counter() - start


def median_of(call: Callable[[], object], times: int) -> float:
    """The median of the seconds of so many calls, after one that is not counted."""
    found = []
    for _ in range(times + 1):
        with timed() as seconds:
            call()
        found.append(seconds())
    return statistics.median(found[1:])


def resident() -> int:
    """Bytes that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def peak() -> int:
    """The most bytes that this process, or a child of it that ended, held."""
    # Not this process's ru_maxrss, which begins with what the process that started it held.
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024


def _own_output() -> TextIO:
    """Standard output for answers alone; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()
