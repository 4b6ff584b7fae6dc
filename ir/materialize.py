"""Weights as arrays: parameters read from a checkpoint, derived weights computed from them in
numpy.

One tensor at a time: nothing is kept but the results of the newest expression with several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from smelt.errors import CheckpointError, SmeltError
from smelt.ir.program import Program, toposort
from smelt.ir.quantizer import quantize_rows
from smelt.ir.tensor import Tensor

Read = Callable[[str], np.ndarray[Any, Any]]
Array = np.ndarray[Any, Any]


class Weights:
    """The arrays behind a program's ``param`` and ``weight`` leaves.

    ``read`` gives a checkpoint tensor by name (f32, f16 or bf16; mapped where possible).
    """

    def __init__(self, program: Program, read: Read) -> None:
        self._program = program
        self._read = read
        self._newest: tuple[Tensor, tuple[Array, ...]] | None = None

    def array(self, leaf: Tensor) -> Array:
        """The array of a ``param`` or ``weight`` leaf, in the leaf's dtype and shape."""
        if leaf.op.name == "param":
            return self._param(leaf)
        if leaf.op.name == "const":
            return const_array(leaf)
        return self.evaluate(self._program.weights[leaf.attr("name")])

    def _param(self, leaf: Tensor) -> Array:
        name, shape = leaf.attr("name"), fixed_shape(leaf)
        if "*" in name:
            return self.expert_rows(leaf, 0, shape[0])
        return self.stored(leaf).astype(leaf.dtype.numpy, copy=False)

    def expert_rows(self, leaf: Tensor, start: int, stop: int) -> Array:
        """Some of the stacked experts of a parameter whose name has a star."""
        name, shape = leaf.attr("name"), fixed_shape(leaf)
        # One at a time into place: the experts of a layer never exist twice.
        stacked = np.empty((stop - start, *shape[1:]), leaf.dtype.numpy)
        for i in range(start, stop):
            stacked[i - start] = self._read_checked(name.replace("*", str(i)), shape[1:])
        return stacked

    def stored(self, leaf: Tensor) -> Array:
        """A parameter that is one tensor of the checkpoint, as it is stored."""
        return self._read_checked(leaf.attr("name"), fixed_shape(leaf))

    def _read_checked(self, name: str, shape: tuple[int, ...]) -> Array:
        array = self._read(name)
        if array.shape != shape:
            raise CheckpointError(
                f"tensor `{name}` has shape {array.shape}, the program wants {shape}"
            )
        return array

    def evaluate(self, expression: Tensor) -> Array:
        """An expression over parameters as an array."""
        values: dict[int, Any] = {}
        for node in self._order(expression):
            values[id(node)] = self._node(node, values)
        result: Array = values[id(expression)]
        return result

    def _order(self, expression: Tensor) -> Iterator[Tensor]:
        """Operands first; what is quantized is read a few rows at a time, never whole."""
        if expression.op.name == "item" and expression.inputs[0].op.name == "quantize_weight":
            yield from (expression.inputs[0], expression)
        else:
            yield from toposort([expression])

    def _quantize(self, node: Tensor) -> tuple[Array, Array, Array]:
        (weight,) = node.inputs
        rows = Rows(self, weight)
        names = [n.attr("name") for n in toposort([weight]) if n.op.name == "param"]
        try:
            return quantize_rows(rows.part, fixed_shape(weight), **dict(node.attrs))
        except CheckpointError as error:
            raise CheckpointError(error.message, place=", ".join(names)) from None

    def _node(self, node: Tensor, values: dict[int, Any]) -> Any:
        if node.op.name in ("param", "const"):
            return self.array(node)
        if node.op.name == "quantize_weight" and self._newest and self._newest[0] is node:
            return self._newest[1]
        if node.op.name == "quantize_weight":
            self._newest = (node, self._quantize(node))
            return self._newest[1]
        if node.op.is_composite:
            raise SmeltError(f"derived weight holds composite {node.op.name}; expand it first")
        rule = RULES.get(node.op.name)
        if rule is None:
            raise SmeltError(f"derived weight holds {node.op.name}, which has no compile-time rule")
        operands = [None if t is None else values[id(t)] for t in node.operands]
        result = rule(*operands, **dict(node.attrs))
        return result if isinstance(result, tuple) else result.astype(node.dtype.numpy, copy=False)


class Rows:
    """Parts along the first axis of an expression, each computed from parts of its operands."""

    def __init__(self, weights: Weights, root: Tensor) -> None:
        self._weights = weights
        self._root = root
        self._whole: dict[int, Array] = {}
        # Reading may mean decoding, so each tensor is read once.
        self._stored: dict[str, Array] = {}

    def part(self, start: int, stop: int) -> Array:
        """Rows start to stop of the root."""
        return self._part(self._root, start, stop)

    def _part(self, node: Tensor, start: int, stop: int) -> Array:
        if node.op.name == "param" and "*" in node.attr("name"):
            return self._weights.expert_rows(node, start, stop)
        if node.op.name == "param":
            return self._param(node)[start:stop].astype(node.dtype.numpy, copy=False)
        rule = _BY_ROWS.get(node.op.name)
        if rule is not None and (rows := rule(self, node, start, stop)) is not None:
            return rows
        if id(node) not in self._whole:
            self._whole[id(node)] = self._weights.evaluate(node)
        return self._whole[id(node)][start:stop]

    def _param(self, leaf: Tensor) -> Array:
        name = leaf.attr("name")
        if name not in self._stored:
            self._stored[name] = self._weights.stored(leaf)
        return self._stored[name]

    def concat(self, node: Tensor, start: int, stop: int) -> Array | None:
        """Rows of a join: of the parts that they lie in, or of every part beside one another."""
        axis = node.attr("axis") % node.type.rank
        if axis:
            return np.concatenate([self._part(t, start, stop) for t in node.inputs], axis)
        pieces = []
        first = 0
        for t in node.inputs:
            size = fixed_shape(t)[0]
            low, high = max(start - first, 0), min(stop - first, size)
            if low < high:
                pieces.append(self._part(t, low, high))
            first += size
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, 0)

    def pad(self, node: Tensor, start: int, stop: int) -> Array | None:
        """Rows with columns added; not where rows are added."""
        attrs = dict(node.attrs)
        if attrs["axis"] % node.type.rank == 0:
            return None
        return _pad(self._part(node.inputs[0], start, stop), **attrs)

    def permute(self, node: Tensor, start: int, stop: int) -> Array | None:
        """Rows of a transposed parameter are its columns."""
        axes = node.attr("axes")
        (x,) = node.inputs
        if axes[0] == 0:
            return np.transpose(self._part(x, start, stop), axes)
        if x.op.name == "param" and "*" not in x.attr("name"):
            columns = [slice(None)] * len(axes)
            columns[axes[0]] = slice(start, stop)
            part = self._param(x)[tuple(columns)].astype(x.dtype.numpy, copy=False)
            return np.transpose(part, axes)
        return None

    def cast(self, node: Tensor, start: int, stop: int) -> Array | None:
        """Rows in another element type."""
        part = self._part(node.inputs[0], start, stop)
        return part.astype(node.dtype.numpy)


_BY_ROWS: dict[str, Callable[[Rows, Tensor, int, int], Array | None]] = {
    "concat": Rows.concat,
    "pad": Rows.pad,
    "permute": Rows.permute,
    "cast": Rows.cast,
}


def fixed_shape(node: Tensor) -> tuple[int, ...]:
    """The shape of a weight, which has no symbols."""
    sizes = tuple(size for size in node.shape if isinstance(size, int))
    assert len(sizes) == node.type.rank, node.type
    return sizes


def const_array(node: Tensor) -> Array:
    """A ``const`` node as an array."""
    value, shape = node.attr("value"), node.attr("shape")
    flat = np.asarray(value, dtype=node.dtype.numpy)
    return flat.reshape(shape) if isinstance(value, tuple) else np.broadcast_to(flat, shape)


def _slice(x: Array, axis: int, start: int, stop: int, step: int) -> Array:
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, stop, step)
    return x[tuple(index)]


def _pad(x: Array, axis: int, before: int, after: int, value: float) -> Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (before, after)
    return np.pad(x, widths, constant_values=value)


#: Compile-time meaning of the primitives that occur between parameters and leaves.
RULES: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "abs": np.abs,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor": np.floor,
    "round": np.rint,
    "equal": np.equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "where": np.where,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_not": np.logical_not,
    "cast": lambda x, dtype: x.astype(dtype.numpy),
    "reshape": lambda x, shape: x.reshape(shape),
    "permute": lambda x, axes: np.transpose(x, axes),
    "expand": lambda x, shape: np.broadcast_to(x, shape),
    "concat": lambda *xs, axis: np.concatenate(xs, axis),
    "slice": _slice,
    "pad": _pad,
    "flip": lambda x, axis: np.flip(x, axis),
    "gather": lambda x, i, axis: np.take(x, i, axis),
    "matmul": np.matmul,
    "mean": lambda x, axes, keepdims: np.mean(x, axis=axes, keepdims=keepdims),
    "sum": lambda x, axes, keepdims: np.sum(x, axis=axes, keepdims=keepdims),
    "item": lambda xs, index: xs[index],
}
