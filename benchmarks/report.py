"""The tables as markdown, and their place in a page between two markers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.driver import FIRST_PROMPT, Job, Track
from benchmarks.figures import Spread, faster, fastest_peer, spread

FORMATS = {"int4": "4 bits", "int8": "8 bits", "bf16": "bf16", "f32": "f32"}
LLAMA, GENAI = "llama.cpp", "onnxruntime-genai"
#: Seconds, of the first token of a short prompt after opening.
FIRST_GOAL = 0.025
_NONE = "–"


@dataclass(frozen=True)
class Chapter:
    """The results on one model: its jobs, and every engine's tracks at each number of threads."""

    title: str
    jobs: Sequence[Job]
    tracks: Mapping[int, Sequence[Track]]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def replace_between(page: str, name: str, text: str) -> str:
    """The page with what stands between `<!-- NAME -->` and `<!-- /NAME -->` replaced."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page has no `{start}` … `{end}`")
    return f"{before}{start}\n{text.strip()}\n{end}{after}"


def chapter(found: Chapter) -> str:
    """One model's tables: figures, ratios, how they open, and what is missing."""
    parts = [f"### {found.title}", _figures(found), _ratios(found), _opening(found)]
    parts += [f"- {line}" for line in _missing(found)]
    return "\n\n".join(part for part in parts if part)


def _figures(found: Chapter) -> str:
    head = ["engine", "format"]
    head += [f"{job.name}, {count} thr" for job in found.jobs for count in found.tracks]
    rows = []
    for tracks in _by_engine(found):
        engine = tracks[0].engine
        cells = [engine.name, FORMATS[engine.format]]
        for job in found.jobs:
            digits = 0 if job.work else 1
            cells += [_cell(spread(track, job), digits) for track in tracks]
        rows.append(cells)
    return table(head, rows)


def _ratios(found: Chapter) -> str:
    """smelt's speed over the fastest peer's of its format, the goal, and over llama.cpp's."""
    llamas = any(t.engine.name.startswith(LLAMA) for t in found.tracks[min(found.tracks)])
    head = ["", "", "goal", *(f"× the fastest peer, {count} thr" for count in found.tracks)]
    head += [f"× llama.cpp, {count} thr" for count in found.tracks if llamas]
    rows = []
    for job in found.jobs:
        for ours in _by_engine(found):
            engine = ours[0].engine
            if not engine.ours:
                continue
            goal = 1.0 if engine.against else job.goal
            cells = [engine.name, job.name, f"{goal:.2f}"]
            for track, every in zip(ours, found.tracks.values(), strict=True):
                best = fastest_peer(every, job, engine.format, engine.against)
                ratio = faster(track, best, job) if best else None
                if best is None or ratio is None:
                    cells.append(_NONE)
                else:
                    cells.append(f"{ratio:.2f} {best.engine.name}: {goal_of(ratio, goal)}")
            for track, every in zip(ours, found.tracks.values(), strict=True):
                if not llamas:
                    continue
                llama = fastest_peer(every, job, engine.format, LLAMA)
                ratio = faster(track, llama, job) if llama else None
                cells.append(_NONE if ratio is None else f"{ratio:.2f}")
            rows.append(cells)
    return f"{table(head, rows)}\n\n{_summary(rows)}".strip() if rows else ""


def _summary(rows: Sequence[Sequence[str]]) -> str:
    """How many of the goals of a table are met; empty where it has none."""
    met = sum(cell.endswith(": met") for row in rows for cell in row)
    short = sum(cell.endswith(" short") for row in rows for cell in row)
    return f"Of {met + short} goals of speed {met} are met." if met + short else ""


def _opening(found: Chapter) -> str:
    """What opening costs, and the goals of the first token and of memory."""
    firsts = [
        count for count, tracks in found.tracks.items() if any(t.first_seconds for t in tracks)
    ]
    head = ["engine", "open ms", "peak MB", "before open MB"]
    head += [f"first token of {FIRST_PROMPT}, ms, {count} thr" for count in firsts]
    head += [f"≤ {FIRST_GOAL * 1e3:.0f} ms", "peak ≤ llama.cpp's"] if firsts else []
    most = {track[0].engine.format: 0 for track in _by_engine(found)}
    for tracks in _by_engine(found):
        if tracks[0].engine.name.startswith(LLAMA):
            form = tracks[0].engine.format
            most[form] = max(most[form], *(track.peak_bytes for track in tracks))
    rows = []
    for tracks in _by_engine(found):
        engine = tracks[0].engine
        peak = max(track.peak_bytes for track in tracks)
        cells = [
            engine.name,
            _cell(_spread_of([s * 1e3 for track in tracks for s in track.open_seconds]), 0),
            _megabytes(peak),
            _megabytes(max(track.before_bytes for track in tracks)),
        ]
        times = [t.first_seconds for t in tracks if t.threads in firsts]
        cells += [_cell(_spread_of([s * 1e3 for s in seconds]), 0) for seconds in times]
        if firsts:
            best = min((median(seconds) for seconds in times if seconds), default=0.0)
            # The goals are our own runtime's.
            counts = engine.ours and not engine.against
            cells += [
                at_most(best, FIRST_GOAL) if counts else _NONE,
                at_most(peak, most[engine.format]) if counts else _NONE,
            ]
        rows.append(cells)
    return table(head, rows)


def _by_engine(found: Chapter) -> list[tuple[Track, ...]]:
    """An engine's tracks, one for each number of threads."""
    return list(zip(*found.tracks.values(), strict=True))


def goal_of(ratio: float, goal: float) -> str:
    """Whether a ratio is as large as it should be, or by how much it is not."""
    return "met" if ratio >= goal else f"{1 - ratio / goal:.0%} short"


def at_most(value: float, goal: float) -> str:
    """Whether a value is as small as it should be, or how many times as large it is."""
    if not value or not goal:
        return _NONE
    return "met" if value <= goal else f"{value / goal:.2f} times that"


def _missing(found: Chapter) -> list[str]:
    lines = {
        f"{track.engine.name} is missing: {track.missing}"
        for tracks in found.tracks.values()
        for track in tracks
        if track.missing
    }
    return sorted(lines)


def _cell(value: Spread | None, digits: int) -> str:
    return _NONE if value is None else value.show(digits)


def _spread_of(values: Sequence[float]) -> Spread | None:
    return Spread.of(values) if values else None


def _megabytes(value: int) -> str:
    return f"{value / 1e6:.0f}" if value else _NONE
