"""From a Program to `model.smelt`: instructions, memory plan, packed weights.

The runtime gets no choices to make: everything that depends on the model alone is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from smelt.backends.edge.last_rows import LAST, keep_last
from smelt.backends.edge.lowering import Lowering, Row
from smelt.backends.edge.rows import elementwise, layers, matrix
from smelt.backends.edge.tables import Tables
from smelt.backends.edge.weights import WeightTable
from smelt.errors import UnsupportedError
from smelt.ir.materialize import Weights
from smelt.ir.program import Program, Slot
from smelt.ir.types import DType
from smelt.passes.expand import Expand
from smelt.runtime.artifact import ArtifactWriter
from smelt.runtime.edge_format import ELEMENTS, MAX_RANK, NONE

#: Later families take precedence: a product may take an activation along.
ROWS: dict[str, Row] = {**elementwise.ROWS, **layers.ROWS, **matrix.ROWS}

#: Of every file; another number when an instruction means something else than before.
FEATURE = "core.2"
#: Required by programs whose logits can be asked for in part.
LAST_FEATURE = "last.1"

#: Tokens of one call of a model with state, unless the one who opens it decides otherwise.
CHUNK = 256
#: Sizes at which buffers are packed; offsets are exact at any others too.
TYPICAL = {"batch": 1, "seq": CHUNK, "past": 768, "source": 256, LAST: 1}
#: Tokens of a source that a session has room for at first; it grows with the longest.
SOURCE = 512


@dataclass(frozen=True)
class Options:
    """What the file says about itself besides the program.

    context: tokens that state holds by default. settings: more keys and values, such as those of
    generation.
    """

    context: int | None = None
    settings: tuple[tuple[str, int], ...] = ()


def composites() -> frozenset[str]:
    """The composites that have a row; others are expanded."""
    from smelt.ir.op import OPS

    return frozenset(name for name, op in OPS.items() if op.is_composite and name in ROWS)


def emit(
    program: Program,
    weights: Weights,
    writer: ArtifactWriter,
    options: Options,
    *,
    progress: Callable[[str, int], None] = lambda name, size: None,
) -> int:
    """Write a program into the artifact; the bytes of its weights.

    Weights are read, packed and written one at a time. UnsupportedError for what has no row.
    """
    program = keep_last(Expand(composites())(program))
    tables = Tables(program.symbols)
    store = WeightTable(tables, weights, dict(program.weights))
    tables.add("features", tables.text(FEATURE))
    if LAST in program.symbols:
        tables.add("features", tables.text(LAST_FEATURE))
    for key, value in _settings(program, options):
        tables.add("settings", tables.text(key), value)
    for slot in program.slots.values():
        tables.add("slots", *_slot(slot, tables))
    tied = matrix.tied(program)
    for function in program.functions.values():
        absorbed = matrix.absorbed(function) | layers.stored(program, function)
        lowering = Lowering(program, function, tables, store, ROWS, absorbed, tied)
        lowering.run(_typical(program))
    return writer.store(tables.data(), store.records(), store.blobs(), progress)


def _settings(program: Program, options: Options) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    if options.context is not None:
        found.append(("context", options.context))
    if "batch" in program.symbols:
        found.append(("limit.batch", max(1, program.symbols["batch"].low)))
    if "past" in program.symbols and "seq" in program.symbols:
        bound = program.symbols["seq"]
        found.append(("limit.seq", max(bound.low, min(CHUNK, bound.high))))
    if "past" in program.symbols and "source" in program.symbols:
        bound = program.symbols["source"]
        found.append(("limit.source", max(bound.low, min(SOURCE, bound.high))))
    if LAST in program.symbols:
        found.append((f"limit.{LAST}", 1))
    return [*found, *options.settings]


def _typical(program: Program) -> Mapping[str, int]:
    found = {}
    for name, bound in program.symbols.items():
        found[name] = max(bound.low, min(TYPICAL.get(name, 128), bound.high))
    return found


def _slot(slot: Slot, tables: Tables) -> tuple[object, ...]:
    is_append = slot.kind == "append"
    if slot.type.rank > MAX_RANK or (is_append and (slot.type.rank != 4 or slot.axis != 2)):
        raise UnsupportedError(f"edge: state {slot.type} along axis {slot.axis}", place=slot.name)
    if is_append and slot.dtype not in (DType.F32, DType.F16, DType.BF16, DType.I8):
        raise UnsupportedError(f"edge: a cache of {slot.dtype.value}", place=slot.name)
    dims = [tables.size(size) for size in slot.type.shape]
    if is_append:
        dims[slot.axis] = NONE
    dtype = slot.dtype if is_append else slot.type.dtype
    return (
        tables.text(slot.name),
        0 if is_append else 1,
        int(slot.layout == "ring"),
        ELEMENTS.index(dtype.value),
        slot.type.rank,
        slot.axis if is_append else 0,
        [*dims, *[0] * (MAX_RANK - len(dims))],
        slot.window or 0,
        0,
    )
