"""Memory plans: exact at any sizes, never overlapping, close to what packing known sizes gives."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from smelt.errors import SmeltError
from smelt.ir.dims import Size, evaluate, symbol
from smelt.passes.check_memory import check_memory
from smelt.passes.plan_memory import Buffer, MemoryPlan, align, plan_memory

BATCH, SEQ, PAST = (symbol(name) for name in ("batch", "seq", "past"))
TYPICAL = {"batch": 1, "seq": 128, "past": 896}


def random_buffers(seed: int, count: int = 40) -> list[Buffer]:
    """Buffers of odd symbolic sizes with short and long lives."""
    rng = random.Random(seed)
    buffers = []
    for _ in range(count):
        width = rng.choice([1, 3, 64, 100])
        size: Size = BATCH * SEQ * width * 4
        if rng.random() < 0.3:
            size = BATCH * SEQ * (PAST + SEQ) * 4
        if rng.random() < 0.1:
            size = rng.randrange(500)
        born = rng.randrange(count)
        buffers.append(Buffer(size, born, born + rng.choice([0, 1, 2, 2, 3, 17])))
    return buffers


@pytest.mark.parametrize("seed", range(20))
def test_buffers_alive_together_never_overlap(seed: int) -> None:
    buffers = random_buffers(seed)
    plan = plan_memory(buffers, TYPICAL)
    check_memory(buffers, plan)
    rng = random.Random(seed)
    for _ in range(10):
        values = {
            "batch": rng.randrange(1, 9),
            "seq": rng.randrange(1, 300),
            "past": rng.randrange(5000),
        }
        offsets = dict(zip(plan.order, plan.offsets(buffers, values), strict=True))
        ends = {i: offsets[i] + evaluate(b.bytes, values) for i, b in enumerate(buffers)}
        for i, a in enumerate(buffers):
            assert offsets[i] % 64 == 0
            for j, b in enumerate(buffers[:i]):
                if a.meets(b):
                    assert offsets[i] >= ends[j] or offsets[j] >= ends[i], (i, j, values)


def test_a_chain_reuses_two_places() -> None:
    size = BATCH * SEQ * 256
    buffers = [Buffer(size, step, step + 1) for step in range(50)]
    offsets = plan_memory(buffers, TYPICAL).offsets(buffers, {"batch": 2, "seq": 7, "past": 0})
    assert set(offsets) == {0, align(2 * 7 * 256)}


def test_at_typical_sizes_the_arena_is_about_the_most_that_is_alive() -> None:
    for seed in range(10):
        buffers = random_buffers(seed, 80)
        plan = plan_memory(buffers, TYPICAL)
        sizes = [align(evaluate(b.bytes, TYPICAL)) for b in buffers]
        offsets = plan.offsets(buffers, TYPICAL)
        arena = max(o + sizes[i] for o, i in zip(offsets, plan.order, strict=True))
        steps = range(max(b.dies for b in buffers) + 1)
        needed = max(
            sum(s for s, b in zip(sizes, buffers, strict=True) if b.born <= t <= b.dies)
            for t in steps
        )
        assert arena <= 1.25 * needed, (seed, arena, needed)


def test_the_checker_sees_a_missing_order() -> None:
    buffers = random_buffers(3)
    plan = plan_memory(buffers, TYPICAL)
    caught = 0
    for place, below in enumerate(plan.below):
        for gone in below:
            cut = tuple(i for i in below if i != gone)
            broken = replace(plan, below=(*plan.below[:place], cut, *plan.below[place + 1 :]))
            with pytest.raises(SmeltError, match="alive together"):
                check_memory(buffers, broken)
            caught += 1
    assert caught > 40  # every entry is needed: the lists are as short as they can be


def test_the_checker_sees_a_plan_of_other_buffers() -> None:
    buffers = random_buffers(4)
    plan = plan_memory(buffers, TYPICAL)
    with pytest.raises(SmeltError, match="places 40 of 39"):
        check_memory(buffers[:-1], plan)
    upside_down = MemoryPlan(plan.order, tuple((i,) for i in range(len(buffers))))
    with pytest.raises(SmeltError, match="comes later"):
        check_memory(buffers, upside_down)
