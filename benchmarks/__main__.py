"""`python -m benchmarks`: smelt beside its peers on this machine, in one interleaved run.

Peers and their models are made below `$SMELT_PEERS` (default `~/.cache/smelt-peers`) the first
time; each peer has a virtual environment of its own. `--write` puts the tables in a page.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import limits, machine
from benchmarks.driver import ROOT, Job, Patience, Track, measure
from benchmarks.engines import DECODERS, ENCODERS, Engine
from benchmarks.prepare import Missing, Preparer, peers_folder
from benchmarks.report import Chapter, chapter, replace_between
from smelt.runtime._edge import limits as machine_limits
from tests import models

PREFILL, PAST, DECODE, TEXT = 512, 32, 128, 128
CHAPTERS: tuple[tuple[str, tuple[Engine, ...], tuple[Job, ...]], ...] = (
    (
        f"SmolLM2-135M: tokens/s, prompt of {PREFILL}, {DECODE} new ones after {PAST}",
        DECODERS,
        (
            Job("prefill", {"run": "prefill", "tokens": PREFILL}, PREFILL, 1.25),
            Job("decode", {"run": "decode", "past": PAST, "tokens": DECODE}, DECODE, 1.5),
        ),
    ),
    (
        "all-MiniLM-L6-v2: milliseconds a call, batch × tokens",
        ENCODERS,
        (
            Job(f"1×{TEXT}", {"run": "encode", "batch": 1, "tokens": TEXT, "times": 20}),
            Job(f"8×{TEXT}", {"run": "encode", "batch": 8, "tokens": TEXT, "times": 5}),
        ),
    ),
)


def main() -> None:
    """Prepare, measure, print, and write the page where one is named."""
    args = _arguments().parse_args()
    sources = {"smollm2": str(models.smollm2_hf()), "minilm": str(models.minilm())}
    preparer = Preparer(peers_folder(), sources, _say, args.prepare_seconds)
    patience = Patience(args.quiet_cores, args.quiet_window, args.quiet_bound)
    command = "python -m benchmarks " + shlex.join(sys.argv[1:])
    parts, every = [], []
    most = {}
    for title, engines, jobs in CHAPTERS:
        chosen = [e for e in engines if any(word in e.name for word in args.only)]
        ready, missing = _ready(chosen, preparer)
        if args.prepare_only or not chosen:
            continue
        tracks = {}
        for threads in args.threads:
            if threads not in most:
                machine.wait_until_quiet(patience.most, patience.window, patience.bound)
                most[threads] = machine_limits(threads)
            found = measure(
                ready,
                jobs,
                peers=peers_folder(),
                threads=threads,
                repeat=args.repeat,
                patience=patience,
                say=_say,
            )
            absent = [Track(engine, threads, missing=why) for engine, why in missing]
            tracks[threads] = [*found, *absent]
            every += tracks[threads]
        parts.append(chapter(Chapter(title, jobs, tracks)))
        if engines is DECODERS:
            config = json.loads(Path(sources["smollm2"], "config.json").read_text(encoding="utf-8"))
            parts.append(limits.chapter(tracks, most, jobs, config))
        # After each chapter: a run that is stopped leaves what it has measured.
        text = "\n\n".join([_preface(every, command.strip(), args.repeat), *parts])
        _write(args.write, "peers", text)
    if parts:
        print(text)
    if args.quality_windows and not args.prepare_only:
        # Late, because it needs torch: the driver stays small while it measures.
        from benchmarks import quality

        text = quality.chapter(preparer, quality.text_of(ROOT), args.quality_windows, _say)
        _write(args.write, "quality", text)
        print(text)


def _write(path: Path | None, name: str, text: str) -> None:
    if path:
        page = path.read_text(encoding="utf-8")
        path.write_text(replace_between(page, name, text), encoding="utf-8")


def _ready(
    engines: Sequence[Engine], preparer: Preparer
) -> tuple[list[tuple[Engine, Path]], list[tuple[Engine, str]]]:
    ready, missing = [], []
    for engine in engines:
        try:
            ready.append((engine, preparer.prepare(engine)))
        except Missing as error:
            _say(f"{engine.name} is missing: {error}")
            missing.append((engine, str(error)))
    return ready, missing


def _preface(tracks: Sequence[Track], command: str, repeat: int) -> str:
    versions = {f"{track.engine.name.split()[0]} {track.version}" for track in tracks}
    others = [s.others for track in tracks for samples in track.samples.values() for s in samples]
    now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    disturbed = sum(value > 0.2 for value in others)
    return "\n".join(
        [
            f"Measured {now} UTC on {machine.cpu_name()}, by `{command}`.",
            f"Median (least..most) of {repeat} rounds. In {disturbed} of {len(others)} runs others"
            " used more than a fifth of a core.",
            f"Versions: {', '.join(sorted(v for v in versions if not v.endswith(' ')))}.",
        ]
    )


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="*",
        default=[""],
        help="engines whose names contain one of these; none: no speeds",
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeat", type=int, default=5, help="rounds that count")
    parser.add_argument("--quiet-cores", type=float, default=0.1, help="others may use so much")
    parser.add_argument("--quiet-window", type=float, default=1.0, help="seconds to look")
    parser.add_argument("--quiet-bound", type=float, default=120.0, help="seconds to wait at most")
    parser.add_argument("--prepare-seconds", type=float, default=3600.0, help="for one command")
    parser.add_argument("--prepare-only", action="store_true")
    parser.add_argument("--quality-windows", type=int, default=8, help="of text; 0: no quality")
    parser.add_argument("--write", type=Path, help="the page that gets the tables")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
