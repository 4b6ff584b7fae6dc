"""One function from IR nodes to instructions: walks the graph and asks the row of each op."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from smelt.backends.edge.graph import Graph
from smelt.backends.edge.last_rows import LAST
from smelt.backends.edge.tables import Tables
from smelt.backends.edge.value import Value, dense_strides
from smelt.backends.edge.weights import LEAVES, Coded, WeightTable, stored_of
from smelt.errors import UnsupportedError
from smelt.ir.dims import Dim
from smelt.ir.program import Function, Program, Slot
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType
from smelt.runtime.edge_format import BIND_SOURCES

#: Gives the value of a node (a tuple for several results); its operands are lowered already.
Row = Callable[["Lowering", Tensor], "Value | tuple[Value, ...]"]

_INPUT, _SLOT, _TOKENS, _ASKED = range(len(BIND_SOURCES))


class Lowering:
    """The state of lowering one function."""

    def __init__(
        self,
        program: Program,
        function: Function,
        tables: Tables,
        weights: WeightTable,
        rows: Mapping[str, Row],
        absorbed: Mapping[int, Tensor],
        tied: frozenset[int],
    ) -> None:
        self.program = program
        self.function = function
        self.graph = Graph(tables)
        self.weights = weights
        self.slots = {name: i for i, name in enumerate(program.slots)}
        #: Nodes that their one reader computes together with itself.
        self.absorbed = absorbed
        #: Weights of linears, which are stored packed whoever else reads them.
        self.tied = tied
        self._tables = tables
        self._rows = rows
        self._values: dict[int, Value | tuple[Value, ...]] = {}
        self._made: dict[tuple[object, ...], Value] = {}

    def run(self, typical: Mapping[str, int]) -> None:
        """Lower every node, then outputs and writes to state, and write the records."""
        inputs = []
        for index, node in enumerate(self.function.inputs):
            value = Value("input", index, node.dtype, node.shape, dense_strides(node.shape))
            self._values[id(node)] = value
            inputs.append((node.attr("name"), value))
        for node in self.function.nodes():
            if node.op.name in (*LEAVES, "input") or id(node) in self.absorbed:
                continue
            row = self._rows.get(node.op.name)
            if row is None:
                raise UnsupportedError(f"edge: no row for `{node.op.name}`", place=node.source)
            self.graph.source = node.source or self.function.name
            self._values[id(node)] = row(self, node)
        self.graph.source = self.function.name
        outputs = [(name, self._kept(self.value(root))) for name, root in self.function.outputs]
        self._write_state()
        self.graph.finish(self.function.name, inputs, outputs, self._binds(), typical)

    def value(self, node: Tensor | None) -> Value:
        """What a node is, plain elements: packed and cached forms are made plain."""
        found = self.raw(node)
        if not found.opaque:
            return found
        op = "load_cache" if found.storage == "state" else "unpack"
        key = (op, found)
        if key not in self._made:
            if found.storage == "state" and self._slot(found).layout == "ring":
                raise UnsupportedError(
                    "edge: only attention can read a ring", place=self.graph.source
                )
            self._made[key] = self.graph.made(op, found.shape, DType.F32, [found])
        return self._made[key]

    def raw(self, node: Tensor | None) -> Value:
        """What a node is, as it is stored."""
        assert node is not None
        if id(node) not in self._values and node.op.name in LEAVES:
            self._values[id(node)] = self.weights.dense(node)
        found = self._values[id(node)]
        assert isinstance(found, Value), f"{node.op.name} has several results"
        return found

    def results(self, node: Tensor) -> tuple[Value, ...]:
        found = self._values[id(node)]
        assert isinstance(found, tuple), f"{node.op.name} has one result"
        return found

    def dense(self, node: Tensor) -> Value:
        """A node's value row-major."""
        return self.graph.dense(self.value(node))

    def optional(self, node: Tensor | None) -> Value | None:
        """A node's value row-major, where it is there."""
        return None if node is None else self.dense(node)

    def once(self, key: tuple[object, ...], make: Callable[[], Value]) -> Value:
        """A value that several rows need, made by the first."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def packed(self, weight: Tensor) -> Value | None:
        """The matrix of a linear in the kernels' order; None when it is computed at run time."""
        if (leaf := stored_of(weight)) is not None:
            return self.weights.floats(leaf)
        if weight.op.name == "dequantize":
            codes, scales, zeros = weight.inputs
            if codes.op.name not in LEAVES:
                return None
            group, size = weight.attr("group"), weight.attr("size")
            return self.weights.codes(Coded(codes, scales, zeros, group, size))
        return None

    def _slot(self, value: Value) -> Slot:
        return list(self.program.slots.values())[value.index]

    def _kept(self, value: Value) -> Value:
        """An output: row-major, and not in memory that belongs to somebody else."""
        if value.storage in ("input", "state") or not value.is_contiguous or value.offset != 0:
            return self.graph.copy(value)
        return value

    def _write_state(self) -> None:
        """Writes come last, when everything has read what was there before."""
        values = [(slot, self.value(root)) for slot, root in self.function.writes]
        safe = [(s, self.graph.copy(v) if v.storage == "state" else v) for s, v in values]
        for slot, value in safe:
            self.graph.emit("write_state", [], [value], self.slots[slot])

    def _binds(self) -> list[tuple[int, int, int, int]]:
        """Where each symbol's value comes from: an input's size, a slot's, or the tokens so far."""
        found: dict[str, tuple[int, int, int, int]] = {}
        symbols = self._tables.symbols
        for index, node in enumerate(self.function.inputs):
            for axis, size in enumerate(node.shape):
                name = str(size)
                if isinstance(size, Dim) and name in symbols and name not in found:
                    found[name] = (symbols[name], _INPUT, index, axis)
        for node in self.function.nodes():
            if node.op.name == "cache":
                index = self.slots[node.attr("slot")]
                axis = node.attr("axis") % node.type.rank
                found.setdefault("past", (symbols["past"], _SLOT, index, axis))
            if node.op.name == "read":
                for axis, size in enumerate(node.shape):
                    name = str(size)
                    if isinstance(size, Dim) and name in symbols and name not in found:
                        found[name] = (symbols[name], _SLOT, self.slots[node.attr("slot")], axis)
        if "past" in symbols:
            found.setdefault("past", (symbols["past"], _TOKENS, 0, 0))
        if LAST in symbols and "seq" in found:
            found[LAST] = (symbols[LAST], _ASKED, symbols["seq"], 0)
        return list(found.values())
