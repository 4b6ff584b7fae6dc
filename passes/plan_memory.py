"""Where activations lie in one arena, decided without knowing the sizes.

A size may depend on symbols, so the plan is an order, not offsets: each buffer names those that lie
below it, and at run time its offset is the highest end among them. Two buffers that are alive
together are always ordered, directly or through others, so they cannot overlap whatever the sizes;
``check_memory`` proves it separately. Which of two is below is decided by packing them at typical
sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smelt.ir.dims import Size, evaluate

ALIGN = 64


@dataclass(frozen=True)
class Buffer:
    """Bytes that are alive from the step that first writes them to the last that reads them."""

    bytes: Size
    born: int
    dies: int

    def meets(self, other: Buffer) -> bool:
        """Whether both are alive at some step."""
        return self.born <= other.dies and other.born <= self.dies


@dataclass(frozen=True)
class MemoryPlan:
    """``order``: the buffers, lowest first; ``below``: for each place in it, the places under
    it."""

    order: tuple[int, ...]
    below: tuple[tuple[int, ...], ...]

    def offsets(self, buffers: Sequence[Buffer], symbols: Mapping[str, int]) -> list[int]:
        """Offsets by place for these sizes, as the runtime computes them."""
        ends: list[int] = []
        offsets: list[int] = []
        for place, under in enumerate(self.below):
            offset = align(max((ends[i] for i in under), default=0))
            offsets.append(offset)
            ends.append(offset + evaluate(buffers[self.order[place]].bytes, symbols))
        return offsets


def plan_memory(buffers: Sequence[Buffer], typical: Mapping[str, int]) -> MemoryPlan:
    """Order buffers so that they pack well at typical sizes and never overlap at any."""
    sizes = [align(evaluate(b.bytes, typical)) or ALIGN for b in buffers]
    neighbours = _neighbours(buffers)
    offsets: dict[int, int] = {}
    # Large buffers first: small ones fit into the gaps that they leave.
    for i in sorted(range(len(buffers)), key=lambda i: (-sizes[i], i)):
        taken = sorted((offsets[j], offsets[j] + sizes[j]) for j in neighbours[i] if j in offsets)
        offset = 0
        for start, end in taken:
            if start - offset >= sizes[i]:
                break
            offset = max(offset, end)
        offsets[i] = offset
    order = sorted(range(len(buffers)), key=lambda i: (offsets[i], i))
    places = {i: place for place, i in enumerate(order)}
    below = _nearest([[places[j] for j in neighbours[i] if places[j] < places[i]] for i in order])
    return MemoryPlan(tuple(order), below)


def align(size: int) -> int:
    """The next multiple of 64."""
    return -(-size // ALIGN) * ALIGN


def _neighbours(buffers: Sequence[Buffer]) -> list[list[int]]:
    """For each buffer, those alive with it; one sweep over the steps."""
    found: list[list[int]] = [[] for _ in buffers]
    alive: list[int] = []
    for i in sorted(range(len(buffers)), key=lambda i: buffers[i].born):
        alive = [j for j in alive if buffers[j].dies >= buffers[i].born]
        for j in alive:
            found[i].append(j)
            found[j].append(i)
        alive.append(i)
    return found


def _nearest(below: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    """Without places that lie under another one of the same list: their order follows."""
    under: list[int] = []  # for each place, all places under it as bits
    kept: list[tuple[int, ...]] = []
    for places in below:
        covered = 0
        near = []
        for place in sorted(places, reverse=True):
            if not covered >> place & 1:
                near.append(place)
                covered |= under[place] | 1 << place
        under.append(covered)
        kept.append(tuple(sorted(near)))
    return tuple(kept)
