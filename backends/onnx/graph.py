"""Builds one ONNX graph: what rows write nodes, constants, sizes and weights with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smelt.backends.onnx.dtypes import onnx_dtype
from smelt.backends.onnx.value import Value
from smelt.backends.onnx.weights_file import Stored, View, WeightsFile
from smelt.errors import UnsupportedError
from smelt.ir.dims import Dim, FloorDiv, Size, evaluate
from smelt.ir.materialize import Weights
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type

Array = np.ndarray[Any, Any]
CONTRIB = "com.microsoft"
MAX_INLINE = 4096  # bytes; larger constants go to the weights file


@dataclass
class Graph:
    """One function's graph under construction."""

    name: str
    program: Program
    weights: Weights
    file: WeightsFile
    options: Any
    #: Names of weights that something else than the matrix of a ``linear`` uses.
    shared: frozenset[str]
    place: str = ""
    #: Caches are buffers that attention writes in place; their size is not that of the past.
    in_place: bool = False
    nodes: list[Any] = field(default_factory=list)
    initializers: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Value] = field(default_factory=dict)
    past: dict[str, Value] = field(default_factory=dict)
    present: dict[str, Value] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    #: The slices taken of each tensor along each axis, in order.
    slices: dict[tuple[Tensor, int], list[Tensor]] = field(default_factory=dict)
    splits: dict[tuple[Tensor, int], tuple[Value, ...]] = field(default_factory=dict)
    _kept: dict[Any, Value] = field(default_factory=dict)

    # Nodes

    def op(self, name: str, *inputs: Value | None, **attributes: Any) -> Value:
        """A node with one output."""
        return self.ops(name, *inputs, outputs=1, **attributes)[0]

    def ops(
        self, name: str, *inputs: Value | None, outputs: int, **attributes: Any
    ) -> tuple[Value, ...]:
        """A node with several outputs; ``name`` may begin with a domain, ``com.microsoft.``."""
        import onnx_ir as ir

        domain, _, kind = name.rpartition(".")
        self.domains.add(domain)
        made = [None if value is None else value.made for value in inputs]
        while made and made[-1] is None:
            made.pop()
        label = f"{self.place}/{kind}_{len(self.nodes)}"
        results = [ir.Value(name=label if outputs == 1 else f"{label}.{i}") for i in range(outputs)]
        given = {key: value for key, value in attributes.items() if value is not None}
        node = ir.Node(
            domain,
            kind,
            made,
            ir.convenience.convert_attributes(given),
            outputs=results,
            name=label,
        )
        self.nodes.append(node)
        return tuple(Value(made=result) for result in results)

    def body(
        self, name: str, types: Sequence[Type], build: Callable[..., tuple[Value, ...]]
    ) -> Any:
        """A graph inside a node: ``build`` gets its inputs and gives its outputs.

        It may use outer values, and constants; sizes must be asked for outside.
        """
        import onnx_ir as ir

        outer, self.nodes = self.nodes, []
        label = f"{self.place}/{name}_{len(outer)}"
        inputs = [value_of(f"{label}.{i}", type) for i, type in enumerate(types)]
        outputs = build(*inputs)
        nodes, self.nodes = self.nodes, outer
        for node in nodes:
            # Names inside must differ from those outside.
            node.name = f"{label}:{node.name}"
            for output in node.outputs:
                output.name = f"{label}:{output.name}"
        return ir.Graph(
            [value.made for value in inputs],
            [value.made for value in outputs],
            nodes=nodes,
            name=name,
        )

    def once(self, key: object, make: Callable[[], Value]) -> Value:
        """What ``make`` gave the first time it was asked for under this key."""
        if key not in self._kept:
            place, self.place = self.place, "shared"
            self._kept[key] = make()
            self.place = place
        return self._kept[key]

    # Constants

    def const(self, array: Array) -> Value:
        """A constant, each value once."""
        array = np.ascontiguousarray(array) if array.ndim else array
        key = ("const", str(array.dtype), array.shape, array.tobytes())
        return self.once(key, lambda: self._constant(array))

    def _constant(self, array: Array) -> Value:
        import onnx_ir as ir

        name = f"const_{sum(name.startswith('const_') for name in self.initializers)}"
        dtype = onnx_dtype(DType.of(array.dtype))
        if array.nbytes > MAX_INLINE:
            # The file is shared by all graphs, which number their constants each for itself.
            name = f"{name}.{self.name}"
            tensor = self.file.add(name, lambda: Stored(array, dtype, array.shape))
        else:
            tensor = ir.Tensor(array, dtype=dtype, name=name)
        return self._initializer(name, tensor)

    def ints(self, *values: int) -> Value:
        """A vector of i64."""
        return self.const(np.array(values, np.int64))

    def number(self, value: float, dtype: DType) -> Value:
        """A scalar."""
        return self.const(np.array(value, dtype.numpy))

    # Weights

    def weight(
        self,
        value: Value,
        form: str = "",
        change: Callable[[Array], Stored] | None = None,
        view: View | None = None,
    ) -> Value:
        """A weight as an initializer: under its own name, or changed, under ``name.form``.

        With a ``view``, what that takes of the form's bytes, under its own ending.
        """
        leaf = value.node
        assert leaf is not None
        stored = leaf.attr("name") + (f".{form}" if form else "")
        name = stored if view is None else f"{leaf.attr('name')}.{view.ending}"
        if name in self.initializers:
            return Value(made=self.initializers[name])

        def make() -> Stored:
            array = self.weights.array(leaf)
            if change is not None:
                return change(array)
            return Stored(array, onnx_dtype(leaf.dtype), array.shape)

        tensor = self.file.add(stored, make)
        if view is not None:
            tensor = self.file.view(stored, name, view)
        return self._initializer(name, tensor)

    def transposed(self, value: Value) -> Value:
        """A matrix [out, in] as an initializer [in, out]."""

        def change(array: Array) -> Stored:
            return Stored(array.T, onnx_dtype(value.dtype), array.T.shape)

        return self.weight(value, "transposed", change)

    def _initializer(self, name: str, tensor: Any) -> Value:
        import onnx_ir as ir

        made = ir.Value(
            name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self.initializers[name] = made
        return Value(made=made)

    # Types

    def cast(self, x: Value, dtype: DType) -> Value:
        """x in an element type."""
        return self.op("Cast", x, to=int(onnx_dtype(dtype)))

    def wide(self, x: Value) -> Value:
        """x as f32."""
        return x if x.dtype is DType.F32 else self.cast(x, DType.F32)

    def narrow(self, x: Value, dtype: DType) -> Value:
        """An f32 value in another element type, unless that is f32."""
        return x if dtype is DType.F32 else self.cast(x, dtype)

    # Sizes

    def size(self, size: Size) -> Value:
        """A size as an i64 vector of one."""
        if isinstance(size, int):
            return self.ints(size)
        return self.once(("size", size), lambda: self._polynomial(size))

    def scalar(self, size: Size) -> Value:
        """A size as an i64 scalar."""
        if isinstance(size, int):
            return self.number(size, DType.I64)
        return self.once(
            ("scalar", size), lambda: self.op("Squeeze", self.size(size), self.ints(0))
        )

    def shape(self, sizes: Sequence[Size]) -> Value:
        """Sizes as an i64 vector."""
        if all(isinstance(size, int) for size in sizes):
            return self.ints(*(size for size in sizes if isinstance(size, int)))
        if len(sizes) == 1:
            return self.size(sizes[0])
        key = ("shape", tuple(sizes))
        return self.once(key, lambda: self.op("Concat", *map(self.size, sizes), axis=0))

    def reshape(
        self, x: Value, shape: Sequence[Size], source: Sequence[Size] | None = None
    ) -> Value:
        """x in another shape; ``source`` is x's own where x has no IR type."""
        before = x.shape if source is None else tuple(source)
        return self.op("Reshape", x, self._target(before, shape))

    def _target(self, before: Sequence[Size], after: Sequence[Size]) -> Value:
        """A constant shape where ``copy this axis`` and ``infer that one`` suffice."""
        fixed: list[int] = []
        for axis, size in enumerate(after):
            if isinstance(size, int) and size:
                fixed.append(size)
            elif axis < len(before) and before[axis] == size:
                fixed.append(0)
            else:
                fixed.append(-1)
        # An inferred size is not defined beside one that may be zero.
        if fixed.count(-1) == 0 or (fixed.count(-1) == 1 and not self._may_be_empty(after)):
            return self.ints(*fixed)
        return self.shape(after)

    def _may_be_empty(self, shape: Iterable[Size]) -> bool:
        lowest = {name: bound.low for name, bound in self.program.symbols.items()}
        lowest.setdefault("past", 0)
        for size in shape:
            names = size.symbols() if isinstance(size, Dim) else ()
            if evaluate(size, lowest | {n: lowest.get(n, 1) for n in names}) < 1:
                return True
        return False

    def _polynomial(self, size: Dim) -> Value:
        if len(size.terms) == 1 and size.terms[0][1] == 1 and len(size.terms[0][0]) == 1:
            atom = size.terms[0][0][0]
            if isinstance(atom, FloorDiv):
                return self.op("Div", self.size(atom.numerator), self.ints(atom.divisor))
            return self._symbol(atom)
        found = self._input_axis(size)
        if found is not None:
            return found
        total: Value | None = None
        for monomial, coefficient in size.terms:
            product: Value | None = None
            for atom in monomial:
                factor = self.size(Dim((((atom,), 1),)))
                product = factor if product is None else self.op("Mul", product, factor)
            if product is None:
                product = self.ints(coefficient)
            elif coefficient != 1:
                product = self.op("Mul", product, self.ints(coefficient))
            total = product if total is None else self.op("Add", total, product)
        assert total is not None
        return total

    def _input_axis(self, size: Dim) -> Value | None:
        """The size of an input's axis that is exactly this."""
        for source in (*self.inputs.values(), *self.past.values()):
            for axis, known in enumerate(source.shape):
                if known == size:
                    return self.op("Shape", source, start=axis, end=axis + 1)
        return None

    def _symbol(self, name: str) -> Value:
        """A symbol, read off an axis that is exactly it or solved from one that is linear in it."""
        target = Dim((((name,), 1),))
        found = self._input_axis(target)
        if found is not None:
            return found
        for source in self.inputs.values():
            for axis, known in enumerate(source.shape):
                solved = self._solve(source, axis, known, target)
                if solved is not None:
                    return solved
        raise UnsupportedError(
            f"onnx: the size `{name}` is not a size of any input of `{self.name}`",
            hint="inputs are " + ", ".join(f"{n}: {v.type}" for n, v in self.inputs.items()),
        )

    def _solve(self, source: Value, axis: int, known: Size, target: Dim) -> Value | None:
        (monomial, _) = target.terms[0]
        if not isinstance(known, Dim):
            return None
        coefficient = dict(known.terms).get(monomial, 0)
        rest = known - target * coefficient
        names = rest.symbols() if isinstance(rest, Dim) else frozenset()
        readable = {
            size for value in self.inputs.values() for size in value.shape if isinstance(size, Dim)
        }
        if coefficient <= 0 or not all(Dim((((n,), 1),)) in readable for n in names):
            return None
        whole = self.op("Shape", source, start=axis, end=axis + 1)
        left = self.op("Sub", whole, self.size(rest)) if rest != 0 else whole
        return left if coefficient == 1 else self.op("Div", left, self.ints(coefficient))

    # State

    def append(self, slot: str, present: Value) -> None:
        """Say which value a slot holds after the call."""
        self.present[slot] = present


def value_of(name: str, type: Type) -> Value:
    """A graph input."""
    import onnx_ir as ir

    return Value(
        type,
        made=ir.Value(
            name=name, shape=ir.Shape(dims(type.shape)), type=ir.TensorType(onnx_dtype(type.dtype))
        ),
    )


def dims(shape: Iterable[Size]) -> list[int | str]:
    """Sizes as ONNX has them: a number, or the text of a symbolic one."""
    return [size if isinstance(size, int) else str(size) for size in shape]
