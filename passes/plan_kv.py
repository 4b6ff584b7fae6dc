"""Decide how state is stored: full or ring, element type, capacity, bytes.

The graph keeps saying what is remembered; the decisions stand in ``Program.slots``. A ring forgets
what a window never looks at again, so results are the same. A smaller type rounds what is stored:
f16 and bf16 when the slot is written, int8 by ``round_to_int8`` in the graph, so that every target
rounds alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from smelt.errors import SmeltError, UnsupportedError
from smelt.ir import ops
from smelt.ir.dims import evaluate
from smelt.ir.program import Program, Slot
from smelt.ir.rewrite import rewrite_program
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType
from smelt.passes.receipt import fired, note, pattern


@dataclass(frozen=True)
class PlanKv:
    """Choose layout and type of every append slot. ``dtype`` None keeps the model's own."""

    dtype: DType | None = None
    context: int | None = None

    def __call__(self, program: Program) -> Program:
        slots = {name: self._plan(slot, program) for name, slot in program.slots.items()}
        program = replace(program, slots=slots)
        for text in sorted({_describe(slot) for slot in slots.values()}):
            note(text)
        return rewrite_program(program, lambda node: self._round(node, slots))

    def _plan(self, slot: Slot, program: Program) -> Slot:
        if slot.kind != "append":
            return slot
        context = self.context or context_of(program)
        is_ring = slot.window is not None and (context is None or slot.window < context)
        dtype = self.dtype if self.dtype and slot.type.dtype.is_float else slot.type.dtype
        return replace(slot, layout="ring" if is_ring else "full", dtype=dtype)

    def _round(self, node: Tensor, slots: Mapping[str, Slot]) -> Tensor | None:
        if node.op.name != "cache" or slots[node.attr("slot")].dtype is not DType.I8:
            return None
        with pattern("round_to_int8"):
            (x,) = node.inputs
            if x.op.name == "round_to_int8":
                return None
            if node.attr("axis") % x.type.rank == x.type.rank - 1:
                raise UnsupportedError(
                    f"slot `{node.attr('slot')}` grows along the axis that an int8 scale covers",
                    place=node.source,
                )
            fired(node)
            rounded = ops.round_to_int8(x)
            return node.op.node((rounded,), dict(node.attrs))


def context_of(program: Program) -> int | None:
    """The largest number of tokens that state is to hold, from the bounds."""
    bound = program.symbols.get("past")
    return None if bound is None else bound.high


def capacity(slot: Slot, context: int, chunk: int = 1) -> int:
    """Entries that an append slot must have room for.

    A ring that serves calls of up to ``chunk`` tokens holds the window and the rest of the chunk.
    """
    if slot.layout == "ring" and slot.window is not None:
        return min(context, slot.window + chunk - 1)
    return context


def slot_bytes(slot: Slot, context: int, batch: int = 1, chunk: int = 1, **symbols: int) -> int:
    """Bytes of a slot with room for a context; SmeltError when a size needs another symbol."""
    values = {"batch": batch, "past": capacity(slot, context, chunk), **symbols}
    missing = {s for size in slot.type.shape if not isinstance(size, int) for s in size.symbols()}
    if missing := missing - values.keys():
        raise SmeltError(f"size of slot `{slot.name}` depends on {', '.join(sorted(missing))}")
    shape = [evaluate(size, values) for size in slot.type.shape]
    # int8 entries have one f32 scale for each row of the last axis.
    scales = prod(shape[:-1]) * 4 if slot.dtype is DType.I8 else 0
    return prod(shape) * slot.dtype.bytes + scales


@dataclass(frozen=True)
class KvRow:
    """Slots that are stored alike; bytes are those of all of them."""

    slots: tuple[str, ...]
    kind: str
    layout: str
    dtype: DType
    shape: str
    capacity: int
    bytes_per_token: int
    bytes: int


@dataclass(frozen=True)
class KvReport:
    """What state costs at a context length and batch size."""

    context: int
    batch: int
    rows: tuple[KvRow, ...]

    @property
    def bytes_per_token(self) -> int:
        """Bytes that one more token of every sequence takes, while no ring is full."""
        return sum(row.bytes_per_token for row in self.rows)

    @property
    def bytes(self) -> int:
        """Bytes of all state."""
        return sum(row.bytes for row in self.rows)

    def __str__(self) -> str:
        lines = [f"state for {self.context} tokens × {self.batch}: {self.bytes / 2**20:.2f} MiB"]
        for row in self.rows:
            each = f", {row.bytes_per_token} B a token" if row.bytes_per_token else ""
            lines.append(
                f"  {len(row.slots):3d} × {row.kind} {row.layout} {row.dtype.value} {row.shape}, "
                f"{row.capacity} entries{each}: {row.bytes / 2**20:.2f} MiB"
            )
        return "\n".join(lines)


def kv_report(
    program: Program, context: int, batch: int = 1, chunk: int = 1, **symbols: int
) -> KvReport:
    """The bytes of every slot, slots of one kind taken together.

    chunk: the most tokens of one call, which a ring must hold beside its window. symbols: values of
    other sizes, such as ``source``.
    """
    groups: dict[tuple[object, ...], list[Slot]] = {}
    for slot in program.slots.values():
        key = (slot.kind, slot.layout, slot.dtype, slot.type, slot.window)
        groups.setdefault(key, []).append(slot)
    rows = []
    for slots in groups.values():
        first, count = slots[0], len(slots)
        grows = first.kind == "append"
        each = slot_bytes(replace(first, layout="full"), 1, batch, 1, **symbols) if grows else 0
        rows.append(
            KvRow(
                tuple(slot.name for slot in slots),
                first.kind,
                first.layout,
                first.dtype,
                str(first.type),
                capacity(first, context, chunk) if grows else 1,
                each * count,
                slot_bytes(first, context, batch, chunk, **symbols) * count,
            )
        )
    return KvReport(context, batch, tuple(rows))


def _describe(slot: Slot) -> str:
    window = f", window {slot.window}" if slot.window is not None else ""
    return f"{slot.kind} {slot.layout} {slot.dtype.value}{window}: {slot.type}"
