"""The tables as markdown, and their place in a page between two markers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.driver import Job, Track
from benchmarks.figures import Spread, faster, fastest_peer, spread

FORMATS = {"int4": "4 bits", "int8": "8 bits", "float": "float"}
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
    """One model's tables: figures, ratios, and what is missing."""
    parts = [f"### {found.title}", _figures(found), _ratios(found)]
    parts += [f"- {line}" for line in _missing(found)]
    return "\n\n".join(part for part in parts if part)


def _figures(found: Chapter) -> str:
    threads = list(found.tracks)
    head = ["engine", "format"]
    head += [f"{job.name}, {count} thr" for job in found.jobs for count in threads]
    head += ["open ms", "peak MB", "before open MB"]
    rows = []
    for tracks in zip(*found.tracks.values(), strict=True):
        engine = tracks[0].engine
        cells = [engine.name, FORMATS[engine.format]]
        for job in found.jobs:
            digits = 0 if job.work else 1
            cells += [_cell(spread(track, job), digits) for track in tracks]
        measured = [track for track in tracks if track.samples]
        cells.append(_cell(_spread_of([t.open_seconds * 1e3 for t in measured]), 0))
        cells.append(_most([track.peak_bytes for track in measured]))
        cells.append(_most([track.before_bytes for track in measured]))
        rows.append(cells)
    return table(head, rows)


def _ratios(found: Chapter) -> str:
    """smelt's speed over the fastest peer's of its format, over llama.cpp's, and the goal."""
    rows = []
    for job in found.jobs:
        for count, tracks in found.tracks.items():
            llamas = [track for track in tracks if track.engine.name.startswith("llama.cpp")]
            for track in tracks:
                if not track.engine.ours:
                    continue
                best = fastest_peer(tracks, job, track.engine.format)
                llama = fastest_peer(llamas, job, track.engine.format)
                ratio = faster(track, best, job) if best else None
                rows.append(
                    [
                        track.engine.name,
                        job.name,
                        str(count),
                        best.engine.name if best else _NONE,
                        _ratio(ratio),
                        _ratio(faster(track, llama, job) if llama else None),
                        _goal(ratio, job.goal),
                    ]
                )
    return table(["", "", "threads", "fastest peer", "× that", "× llama.cpp", "goal"], rows)


def _goal(ratio: float | None, goal: float) -> str:
    if ratio is None:
        return _NONE
    return f"{goal:.2f}: " + ("met" if ratio >= goal else f"{1 - ratio / goal:.0%} short")


def _missing(found: Chapter) -> list[str]:
    lines = {
        f"{track.engine.name} is missing: {track.missing}"
        for tracks in found.tracks.values()
        for track in tracks
        if track.missing
    }
    return sorted(lines)


def _ratio(ratio: float | None) -> str:
    return _NONE if ratio is None else f"{ratio:.2f}"


def _cell(value: Spread | None, digits: int) -> str:
    return _NONE if value is None else value.show(digits)


def _spread_of(values: Sequence[float]) -> Spread | None:
    return Spread.of(values) if values else None


def _most(values: Sequence[int]) -> str:
    return f"{max(values) / 1e6:.0f}" if values else _NONE
