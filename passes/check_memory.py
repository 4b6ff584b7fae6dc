"""Prove a memory plan: no two buffers that are alive together can share a byte, at any sizes.

Written apart from ``plan_memory`` on purpose: it walks every step and asks that the buffers alive
there form one chain, each surely above the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from smelt.errors import SmeltError
from smelt.passes.plan_memory import Buffer, MemoryPlan


def check_memory(buffers: Sequence[Buffer], plan: MemoryPlan) -> None:
    """SmeltError naming two buffers that the plan could lay over one another."""
    if sorted(plan.order) != list(range(len(buffers))) or len(plan.below) != len(buffers):
        raise SmeltError(f"memory plan places {len(plan.order)} of {len(buffers)} buffers")
    above: list[set[int]] = []  # for each place, all places that are surely under it
    for place, under in enumerate(plan.below):
        if any(not 0 <= other < place for other in under):
            raise SmeltError(f"memory plan puts buffer {plan.order[place]} on one that comes later")
        above.append(set(under).union(*(above[other] for other in under)))
    steps = max((b.dies for b in buffers), default=-1) + 1
    alive: list[list[int]] = [[] for _ in range(steps)]
    for place, index in enumerate(plan.order):
        for step in range(buffers[index].born, buffers[index].dies + 1):
            alive[step].append(place)
    for step, places in enumerate(alive):
        for low, high in pairwise(places):
            if low not in above[high]:
                raise SmeltError(
                    f"buffers {plan.order[low]} and {plan.order[high]} are alive together at step "
                    f"{step} and could overlap"
                )
