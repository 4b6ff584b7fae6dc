"""From a Program to ONNX files: one graph for each function, one file of weights for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smelt.backends.onnx.contrib.attention import is_in_place
from smelt.backends.onnx.dtypes import onnx_dtype
from smelt.backends.onnx.graph import Graph, dims, value_of
from smelt.backends.onnx.row import Dialect, Row
from smelt.backends.onnx.rows.shape import slices_of
from smelt.backends.onnx.storage import spell_out_storage
from smelt.backends.onnx.table import choose
from smelt.backends.onnx.value import Value
from smelt.backends.onnx.weights_file import WeightsFile
from smelt.errors import UnsupportedError
from smelt.ir.dims import substitute, symbol
from smelt.ir.materialize import Weights
from smelt.ir.program import Function, Program, Slot
from smelt.ir.rewrite import rewrite_program
from smelt.ir.tensor import Tensor
from smelt.ir.types import TupleType, Type
from smelt.runtime.manifest import FunctionSpec, StateSpec, TensorSpec

WEIGHTS = "weights.bin"
OPSET = 21  # the oldest with block-wise DequantizeLinear; onnxruntime and TensorRT know it well
IR_VERSION = 10
PRODUCER = "smelt"


@dataclass(frozen=True)
class Options:
    """Choices that change a graph and not what it means."""

    dialect: Dialect = "standard"


DEFAULT = Options()


@dataclass(frozen=True)
class Emitted:
    """What the manifest says about the graphs; ``requires`` names runtime features."""

    functions: tuple[FunctionSpec, ...]
    state: tuple[StateSpec, ...]
    weights_bytes: int
    share_buffer: bool
    requires: tuple[str, ...]
    options: Mapping[str, str]


def emit(
    program: Program,
    weights: Weights,
    out: Path,
    options: Options = DEFAULT,
    *,
    progress: Callable[[str, int], None] = lambda name, size: None,
) -> Emitted:
    """Write ``NAME.onnx`` for each function and ``weights.bin`` into the folder ``out``.

    Composites without a row are expanded first. Weights are read, changed and written one at a
    time; ``progress`` hears each one's name and bytes. UnsupportedError for an op that the dialect
    has no row for.
    """
    program = lower(spell_out_storage(program), options.dialect)
    shared = _shared(program)
    in_place = options.dialect == "ort" and _can_share(program)
    specs = []
    domains: set[str] = set()
    has_grouped = False
    with WeightsFile(out / WEIGHTS, progress) as file:
        for function in program.functions.values():
            graph = Graph(function.name, program, weights, file, options, shared)
            graph.in_place = in_place
            model = _model(graph, function)
            path = out / f"{function.name}.onnx"
            path.write_bytes(model)
            specs.append(_spec(function, path.name))
            domains |= graph.domains
            has_grouped |= any(node.op_type == "GroupQueryAttention" for node in graph.nodes)
    return Emitted(
        functions=tuple(specs),
        state=tuple(_state(slot) for slot in program.slots.values()),
        weights_bytes=file.bytes,
        share_buffer=in_place,
        requires=("onnx.contrib",) if domains - {""} else (),
        # GroupQueryAttention takes several new tokens after a past for one sequence only.
        options={"continue": "rows"} if has_grouped else {},
    )


def lower(program: Program, dialect: Dialect) -> Program:
    """The program with every composite expanded that no row of the dialect accepts."""

    def rule(node: Tensor) -> Any:
        return node.op.expand(node) if is_left(node) else None

    def is_left(node: Tensor) -> bool:
        return node.op.is_composite and choose(node, dialect) is None

    while any(is_left(node) for node in program.nodes()):
        program = rewrite_program(program, rule)
    return program


def _shared(program: Program) -> frozenset[str]:
    """Weights that have a reader which wants them as they lie."""
    names: set[str] = set()
    for node in program.nodes():
        for i, operand in enumerate(node.inputs):
            if operand.op.name in ("param", "weight"):
                by_columns = (node.op.name, i) == ("linear", 1) or node.op.name == "dequantize"
                if not by_columns:
                    names.add(operand.attr("name"))
            elif operand.op.name == "dequantize" and (node.op.name, i) != ("linear", 1):
                names.update(t.attr("name") for t in operand.inputs if t.op.name == "weight")
    return frozenset(names)


def _model(g: Graph, function: Function) -> bytes:
    import onnx_ir as ir

    for node in function.inputs:
        g.inputs[node.attr("name")] = value_of(node.attr("name"), node.type)
    for slot in _read_slots(function):
        g.past[slot] = value_of(past_name(slot), _held(g, slot))
    g.slices = slices_of(function)
    values = _nodes(g, function)
    outputs = []
    taken: set[int] = set()
    for name, root in function.outputs:
        outputs.append(_output(g, name, values[id(root)], root.type, taken))
    for slot, root in function.writes:
        outputs.append(_output(g, present_name(slot), values[id(root)], root.type, taken))
    for slot, value in g.present.items():
        kind = _held(g, slot) if g.in_place else _grown(g, function, slot)
        outputs.append(_output(g, present_name(slot), value, kind, taken))
    inputs = [value.made for value in (*g.inputs.values(), *g.past.values())]
    opsets = {domain: OPSET if domain == "" else 1 for domain in sorted({"", *g.domains})}
    graph = ir.Graph(
        inputs,
        outputs,
        nodes=g.nodes,
        initializers=list(g.initializers.values()),
        opset_imports=opsets,
        name=f"{g.program.model_type}.{function.name}",
    )
    model = ir.Model(graph, ir_version=IR_VERSION, producer_name=PRODUCER)
    data: bytes = ir.serde.serialize_model(model).SerializeToString(deterministic=True)
    return data


def _nodes(g: Graph, function: Function) -> dict[int, Value]:
    """The value of every node by its id, built in order; lazy ones when something needs them."""
    values: dict[int, Value | tuple[Value, ...]] = {}
    for node in function.nodes():
        g.place = node.source or function.name
        if node.op.name == "input":
            values[id(node)] = g.inputs[node.attr("name")]
            continue
        row = choose(node, g.options.dialect)
        if row is None:
            raise UnsupportedError(
                f"onnx: the {g.options.dialect} dialect has no row for `{node.op.name}`",
                place=node.source,
            )
        operands = tuple(None if t is None else values[id(t)] for t in node.operands)
        values[id(node)] = _value(g, row, node, operands)
    for node in function.nodes():
        # A cache whose reader took past and new apart has made `present` already.
        if node.op.name == "cache" and node.attr("slot") not in g.present:
            values[id(node)].made  # type: ignore[union-attr]  # noqa: B018
    return values  # type: ignore[return-value]


def _value(
    g: Graph, row: Row, node: Tensor, operands: tuple[Any, ...]
) -> Value | tuple[Value, ...]:
    attributes = dict(node.attrs)
    if row.lazy:
        place = g.place

        def make() -> Value:
            before, g.place = g.place, place
            made: Value = row.build(g, *operands, **attributes)
            g.place = before
            return made

        return Value(node.type, make=make, node=node, operands=operands)
    result = row.build(g, *operands, **attributes)
    if isinstance(node.result, TupleType):
        for value, kind in zip(result, node.result.items, strict=True):
            _describe(value, kind)
        return tuple(result)
    return _fresh(result, node, operands)


def _fresh(value: Value, node: Tensor, operands: tuple[Any, ...]) -> Value:
    """The row's result as this node's value: a row may give an operand back, or a shared value."""
    if value in operands:
        return value
    found = Value(node.type, made=value._made, make=lambda: value, node=node, rows=value.rows)
    if value.is_made:
        _describe(found, node.type)
    return found


def _describe(value: Value, kind: Type) -> None:
    """Note type and shape on the ONNX value."""
    import onnx_ir as ir

    value.typed(kind)
    made = value.made
    if made.shape is None:
        made.shape = ir.Shape(dims(kind.shape))
        made.type = ir.TensorType(onnx_dtype(kind.dtype))


def _output(g: Graph, name: str, value: Value, kind: Type, taken: set[int]) -> Any:
    """The ONNX value that is the graph's output of this name."""
    import onnx_ir as ir

    made = value.made
    if made.producer() is None or id(made) in taken:
        # An input or a weight given back, or one value under two names.
        made = g.op("Identity", value).made
    taken.add(id(made))
    made.name = name
    made.shape = ir.Shape(dims(kind.shape))
    made.type = ir.TensorType(onnx_dtype(kind.dtype))
    return made


def past_name(slot: str) -> str:
    """The graph input that holds a slot before the call."""
    return f"past.{slot}"


def present_name(slot: str) -> str:
    """The graph output that holds a slot after the call."""
    return f"present.{slot}"


def _read_slots(function: Function) -> list[str]:
    """The slots that a function reads, in the order in which it does."""
    found = [n.attr("slot") for n in function.nodes() if n.op.name in ("cache", "read")]
    return list(dict.fromkeys(found))


def _can_share(program: Program) -> bool:
    """Whether all caches can be one buffer each, before and after a call, written in place.

    The buffer's size then says nothing of the past, so an input must.
    """
    found = False
    for function in program.functions.values():
        caches = [n for n in function.nodes() if n.op.name == "cache"]
        told = {size for t in function.inputs for size in t.shape}
        if caches and not (is_in_place(function) and caches[0].shape[2] in told):
            return False
        found = found or bool(caches)
    return found


def _held(g: Graph, slot: str) -> Type:
    """The type of a slot as the graph is given it."""
    known = g.program.slots[slot]
    kind = known.type
    if not g.in_place or known.kind != "append":
        return kind
    shape = tuple(substitute(size, {"past": symbol("capacity")}) for size in kind.shape)
    return Type(shape, kind.dtype)


def _grown(g: Graph, function: Function, slot: str) -> Type:
    node = next(n for n in function.nodes() if n.op.name == "cache" and n.attr("slot") == slot)
    return node.type


def _spec(function: Function, file: str) -> FunctionSpec:
    reads = _read_slots(function)
    appended = [n.attr("slot") for n in function.nodes() if n.op.name == "cache"]
    writes = dict.fromkeys([*(name for name, _ in function.writes), *appended])
    return FunctionSpec(
        name=function.name,
        inputs=tuple(_tensor(n.attr("name"), n.type) for n in function.inputs),
        outputs=tuple(_tensor(name, t.type) for name, t in function.outputs),
        reads=tuple(reads),
        writes=tuple(writes),
        file=file,
    )


def _tensor(name: str, kind: Type) -> TensorSpec:
    return TensorSpec(name=name, dtype=kind.dtype.value, shape=tuple(dims(kind.shape)))


def _state(slot: Slot) -> StateSpec:
    """As the graph has it: nothing is forgotten, so the layout is full."""
    kind = slot.type
    return StateSpec(
        name=slot.name,
        kind="append" if slot.kind == "append" else "replace",
        dtype=kind.dtype.value,
        shape=tuple(dims(kind.shape)),
        window=slot.window,
    )
