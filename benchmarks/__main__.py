"""`python -m benchmarks`: smelt beside its peers on this machine, in interleaved runs.

Peers and their models are made below `$SMELT_PEERS` (default `~/.cache/smelt-peers`) the first
time; each peer has a virtual environment of its own. `--write` puts the tables in a page, each
between marks of its own, so that one model can be measured again without the others.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks import limits, machine, neighbour
from benchmarks.driver import ROOT, Patience, Track, measure
from benchmarks.engines import Engine
from benchmarks.prepare import Missing, Preparer, peers_folder
from benchmarks.report import Chapter, chapter, replace_between
from benchmarks.tables import MODELS, Model
from smelt.runtime._edge import limits as machine_limits
from tests import models, shapes

SOURCES: dict[str, Callable[[], Path]] = {
    "smollm2": models.smollm2_hf,
    "qwen": shapes.qwen_half_billion,
    "minilm": models.minilm,
    "bert": shapes.bert_base,
}
PARTS = ("speed", "neighbour", "quality")


def main() -> None:
    """Prepare, measure, print, and write the page where one is named."""
    args = _arguments().parse_args()
    chosen = [model for model in MODELS if model.key in args.models]
    preparer = Preparer(
        peers_folder(),
        _sources(chosen),
        _say,
        args.prepare_seconds,
        as_prepared=args.as_prepared,
    )
    run = Run(args, preparer)
    for model in chosen:
        engines = [e for e in model.engines if any(word in e.name for word in args.only)]
        if "speed" in args.parts and engines:
            run.show(model.key, partial(run.speed, model, engines))
    first = MODELS[0]
    if first not in chosen or args.prepare_only:
        return
    if "neighbour" in args.parts:
        run.show("neighbour", partial(run.neighbour, first))
    if "quality" in args.parts:
        run.show("quality", partial(run.quality, first))


class Run:
    """One command: what was asked, and the machine's limits once they are known."""

    def __init__(self, args: argparse.Namespace, preparer: Preparer) -> None:
        self._args = args
        self._preparer = preparer
        self._patience = Patience(args.quiet_cores, args.quiet_window, args.quiet_bound)
        self._limits: dict[int, dict[str, float]] = {}

    def show(self, name: str, measured: Callable[[], str]) -> None:
        """Print a part, and put it in its place at once: a run may be stopped after it."""
        start = time.monotonic()
        text = measured()
        if not text:
            return
        print(text, flush=True)
        _say(f"{name} took {time.monotonic() - start:.0f} s")
        path: Path | None = self._args.write
        if path:
            page = path.read_text(encoding="utf-8")
            path.write_text(replace_between(page, name, text), encoding="utf-8")

    def speed(self, model: Model, engines: Sequence[Engine]) -> str:
        """One model's tables; empty where models are only to be made."""
        ready, missing = self._ready(engines)
        if self._args.prepare_only:
            return ""
        tracks = {}
        for threads in self._args.threads:
            found = measure(
                ready,
                model.jobs,
                peers=peers_folder(),
                threads=threads,
                repeat=self._args.repeat,
                opens=self._args.opens if model.decodes else 0,
                patience=self._patience,
                say=_say,
            )
            tracks[threads] = [*found, *(Track(e, threads, missing=why) for e, why in missing)]
        order = {engine: index for index, engine in enumerate(engines)}
        for found in tracks.values():
            found.sort(key=lambda track: order[track.engine])
        every = [track for found in tracks.values() for track in found]
        parts = [chapter(Chapter(model.title, model.jobs, tracks))]
        if model.decodes and any(engine.ours for engine, _ in ready):
            for threads in self._args.threads:
                self._limit(threads)
            config = self._preparer.source(model.key) / "config.json"
            sizes = json.loads(config.read_text(encoding="utf-8"))
            parts.append(limits.chapter(tracks, self._limits, model.jobs, sizes))
        return "\n\n".join([*parts, self._said(every)])

    def neighbour(self, model: Model) -> str:
        """Two threads beside a busy core."""
        engines = [e for e in model.engines if e.name in neighbour.NAMES]
        ready, missing = self._ready([e for e in engines if self._wanted(e)])
        text = neighbour.chapter(
            ready,
            peers=peers_folder(),
            repeat=self._args.repeat,
            patience=self._patience,
            say=_say,
        )
        lines = [f"- {engine.name} is missing: {why}" for engine, why in missing]
        title = "### Beside a neighbour: SmolLM2-135M, one of two cores busy elsewhere"
        return "\n\n".join([title, text, *lines, self._said([])])

    def quality(self, model: Model) -> str:
        """What the formats cost."""
        # Late, because it needs torch: the driver stays small while it measures.
        from benchmarks import quality

        # A second build of an engine has the first one's file.
        engines = [e for e in model.engines if self._wanted(e) and not e.needs]
        windows = self._args.quality_windows
        text = quality.chapter(engines, self._preparer, quality.text_of(ROOT), windows, _say)
        return f"{text}\n\n{self._said([], rounds=False)}"

    def _limit(self, threads: int) -> None:
        if threads not in self._limits:
            patience = self._patience
            machine.wait_until_quiet(patience.most, patience.window, patience.bound)
            self._limits[threads] = machine_limits(threads)

    def _wanted(self, engine: Engine) -> bool:
        return any(word in engine.name for word in self._args.only)

    def _ready(
        self, engines: Sequence[Engine]
    ) -> tuple[list[tuple[Engine, Path]], list[tuple[Engine, str]]]:
        """Engines with their models, and those that cannot be had with the reason."""
        ready, missing = [], []
        for engine in engines:
            if engine.needs and not machine.cpu_has(engine.needs):
                continue
            try:
                ready.append((engine, self._preparer.prepare(engine)))
            except Missing as error:
                _say(f"{engine.name} is missing: {error}")
                missing.append((engine, str(error)))
        return ready, missing

    def _said(self, tracks: Sequence[Track], *, rounds: bool = True) -> str:
        """When, where and how a part was measured."""
        versions = {f"{track.engine.name.split()[0]} {track.version}" for track in tracks}
        known = sorted(version for version in versions if not version.endswith(" "))
        others = [s.others for t in tracks for samples in t.samples.values() for s in samples]
        now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        lines = [
            f"Measured {now} UTC on {machine.cpu_name()}, by",
            f"`python -m benchmarks {shlex.join(sys.argv[1:])}`.",
        ]
        if rounds:
            lines.append(f"Median (least..most) of {self._args.repeat} rounds.")
        if others:
            disturbed = sum(value > 0.2 for value in others)
            lines.append(
                f"In {disturbed} of {len(others)} runs others used more than a fifth of a core."
            )
        if known:
            lines.append(f"Versions: {', '.join(known)}.")
        return "\n".join(lines)


def _sources(chosen: Sequence[Model]) -> dict[str, Path]:
    """The checkpoints of the models that can be had."""
    found = {}
    for model in chosen:
        try:
            found[model.key] = SOURCES[model.key]()
        except models.ModelUnavailable as error:
            _say(f"{model.key} cannot be had: {error}")
    return found


def _arguments() -> argparse.ArgumentParser:
    keys = [model.key for model in MODELS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--models", nargs="+", default=keys, choices=keys)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument(
        "--only", nargs="+", default=[""], help="engines whose names contain one of these"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeat", type=int, default=5, help="rounds that count")
    parser.add_argument("--opens", type=int, default=2, help="of a decoder, with a first token")
    parser.add_argument("--quiet-cores", type=float, default=0.1, help="others may use so much")
    parser.add_argument("--quiet-window", type=float, default=1.0, help="seconds to look")
    parser.add_argument("--quiet-bound", type=float, default=120.0, help="seconds to wait at most")
    parser.add_argument("--prepare-seconds", type=float, default=3600.0, help="for one command")
    parser.add_argument("--prepare-only", action="store_true", help="measure nothing")
    parser.add_argument(
        "--as-prepared",
        action="store_true",
        help="install and export nothing; what an earlier run could not make stays missing",
    )
    parser.add_argument("--quality-windows", type=int, default=8, help="of text")
    parser.add_argument("--write", type=Path, help="the page that gets the tables")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
