"""What samples say: medians with their spread, and ratios of engines round by round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.driver import Job, Track


@dataclass(frozen=True)
class Spread:
    """The median of some values, and the least and the greatest."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        found = sorted(values)
        return cls(median(found), found[0], found[-1])

    def show(self, digits: int) -> str:
        """As a cell of a table."""
        low, high = f"{self.least:.{digits}f}", f"{self.most:.{digits}f}"
        return f"{self.middle:.{digits}f} ({low}..{high})"


def figure(job: Job, seconds: float) -> float:
    """Tokens a second, or milliseconds for a job without a count of tokens."""
    return job.work / seconds if job.work else seconds * 1e3


def spread(track: Track, job: Job) -> Spread | None:
    """The figures of an engine in a job, if it has any."""
    samples = track.samples.get(job.name)
    return Spread.of(figure(job, sample.seconds) for sample in samples) if samples else None


def faster(track: Track, other: Track, job: Job) -> float | None:
    """How many times as fast as another: the median of the ratios of the same rounds."""
    pairs = list(
        zip(track.samples.get(job.name, ()), other.samples.get(job.name, ()), strict=False)
    )
    return median(b.seconds / a.seconds for a, b in pairs) if pairs else None


def fastest_peer(tracks: Sequence[Track], job: Job, form: str, against: str = "") -> Track | None:
    """The peer of the least median time in a format, among those whose names begin so."""
    times = {
        index: median(sample.seconds for sample in track.samples[job.name])
        for index, track in enumerate(tracks)
        if not track.engine.ours
        and track.engine.name.startswith(against)
        and track.engine.format == form
        and job.name in track.samples
    }
    return tracks[min(times, key=times.__getitem__)] if times else None
