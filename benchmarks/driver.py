"""Engines side by side: a worker process each, their runs interleaved round by round."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.engines import Engine
from benchmarks.prepare import Missing

ROOT = Path(__file__).resolve().parents[1]
FIRST_PROMPT = 32


@dataclass(frozen=True)
class Job:
    """One kind of run; `work` tokens over its seconds is its speed, without it seconds count.

    `goal` is how many times as fast as the fastest peer smelt is to be.
    """

    name: str
    request: Mapping[str, Any]
    work: int = 0
    goal: float = 1.0


@dataclass(frozen=True)
class Sample:
    """One run: its seconds, and the cores that others used meanwhile."""

    seconds: float
    others: float


@dataclass
class Track:
    """What an engine showed with so many threads."""

    engine: Engine
    threads: int
    version: str = ""
    open_seconds: list[float] = field(default_factory=list)
    first_seconds: list[float] = field(default_factory=list)
    """Of the first prompt after opening."""
    before_bytes: int = 0
    peak_bytes: int = 0
    weight_bytes: int = 0
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True)
class Patience:
    """When a machine counts as quiet, and how long to wait for that; in cores and seconds."""

    most: float = 0.1
    window: float = 1.0
    bound: float = 120.0
    attempts: int = 3


class Worker:
    """The process of one engine; its answers come as JSON lines."""

    def __init__(self, engine: Engine, model: Path, peers: Path, threads: int) -> None:
        python = str(peers / engine.environment / "bin" / "python")
        variables = {name: str(peers / value) for name, value in engine.variables}
        # A file: a pipe that nobody reads would stop a talkative library.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [
                python if engine.environment else sys.executable,
                "-m",
                f"benchmarks.workers.{engine.worker}",
                str(model),
                str(threads),
            ],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self.hello = self.answer(300.0)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, request: Mapping[str, Any], seconds: float = 300.0) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(dict(request)).encode() + b"\n")
        self._process.stdin.flush()
        return self.answer(seconds)

    def answer(self, seconds: float) -> dict[str, Any]:
        """The next answer; `Missing` with the worker's last words where there is none."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            if not ready.select(seconds):
                self._process.kill()
                raise Missing(f"no answer in {seconds:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise Missing(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Missing(answer["error"])
        return answer

    def close(self) -> None:
        """End of input ends the worker."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._errors.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        text = self._errors.read().decode("utf-8", "replace").strip()
        return (text.splitlines() or ["the worker ended without a word"])[-1]


def measure(
    engines: Sequence[tuple[Engine, Path]],
    jobs: Sequence[Job],
    *,
    peers: Path,
    threads: int,
    repeat: int,
    opens: int,
    patience: Patience,
    say: Callable[[str], None],
) -> list[Track]:
    """Each engine opened so many times, then a round that is not counted, then those that are.

    With ``opens`` 0 an engine is opened once, and asked for no first prompt.
    """
    tracks = [Track(engine, threads) for engine, _ in engines]
    workers: dict[int, Worker] = {}
    try:
        for number in range(max(1, opens)):
            for index, (engine, model) in enumerate(engines):
                if number and index not in workers:
                    continue
                say(f"open {engine.name}, {threads} threads")
                if number:
                    workers.pop(index).close()
                try:
                    machine.wait_until_quiet(patience.most, patience.window, patience.bound)
                    workers[index] = Worker(engine, model, peers, threads)
                    _opened(workers[index], tracks[index], first=opens > 0)
                except (Missing, OSError) as error:
                    tracks[index].missing = str(error)
                    if index in workers:
                        workers.pop(index).close()
        for number in range(repeat + 1):
            say(f"round {number} of {repeat}, {threads} threads")
            for job in jobs:
                for index in list(workers):
                    track = tracks[index]
                    try:
                        taken = sample(workers[index], track, job, patience, say)
                    except (Missing, OSError) as error:
                        track.missing = str(error)
                        workers.pop(index).close()
                        continue
                    if number:
                        track.samples.setdefault(job.name, []).append(taken)
    finally:
        for worker in workers.values():
            worker.close()
    return tracks


def _opened(worker: Worker, track: Track, *, first: bool) -> None:
    """Note what a worker said of itself, and its first prompt."""
    track.version = str(worker.hello["version"])
    track.open_seconds.append(float(worker.hello["open_seconds"]))
    track.before_bytes = int(worker.hello["before_bytes"])
    track.weight_bytes = int(worker.hello["weight_bytes"])
    if first:
        answer = worker.ask({"run": "first", "tokens": FIRST_PROMPT})
        track.first_seconds.append(float(answer["seconds"]))


def sample(
    worker: Worker, track: Track, job: Job, patience: Patience, say: Callable[[str], None]
) -> Sample:
    """One run at a quiet moment; tried again where others came in between."""
    best: Sample | None = None
    for _ in range(patience.attempts):
        load, waited = machine.wait_until_quiet(patience.most, patience.window, patience.bound)
        if waited > 2 * patience.window:
            say(f"waited {waited:.0f} s for a quiet machine; {load:.2f} cores busy")
        ticks, own = machine.machine_ticks(), machine.process_ticks(worker.pid)
        answer = worker.ask(job.request)
        own = machine.process_ticks(worker.pid) - own
        others = machine.busy_cores(ticks, machine.machine_ticks(), own)
        track.peak_bytes = max(track.peak_bytes, int(answer["peak_bytes"]))
        found = Sample(float(answer["seconds"]), others)
        if best is None or found.others < best.others:
            best = found
        if others <= 2 * patience.most:
            break
        if waited >= patience.bound:
            break
    assert best is not None
    return best
