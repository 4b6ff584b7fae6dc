"""Weights as arrays: parameters read from a checkpoint, derived weights computed from them in
numpy.

One tensor at a time: nothing is kept but the results of the newest expression with several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from smelt.errors import CheckpointError, SmeltError
from smelt.ir.program import Program, toposort
from smelt.ir.quantizer import quantize
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
        return self._evaluate(self._program.weights[leaf.attr("name")])

    def _param(self, leaf: Tensor) -> Array:
        name, shape = leaf.attr("name"), leaf.shape
        if "*" in name:
            count = shape[0]
            assert isinstance(count, int)
            # One at a time into place: the experts of a layer never exist twice.
            stacked = np.empty(shape, leaf.dtype.numpy)
            for i in range(count):
                stacked[i] = self._read(name.replace("*", str(i)))
            return stacked
        array = self._read(name)
        if array.shape != shape:
            raise CheckpointError(
                f"tensor `{name}` has shape {array.shape}, the program wants {shape}"
            )
        return array.astype(leaf.dtype.numpy, copy=False)

    def _evaluate(self, expression: Tensor) -> Array:
        values: dict[int, Any] = {}
        for node in toposort([expression]):
            values[id(node)] = self._node(node, values)
        result: Array = values[id(expression)]
        return result

    def _node(self, node: Tensor, values: dict[int, Any]) -> Any:
        if node.op.name in ("param", "const"):
            return self.array(node)
        if node.op.name == "quantize_weight" and self._newest and self._newest[0] is node:
            return self._newest[1]
        if node.op.is_composite:
            raise SmeltError(f"derived weight holds composite {node.op.name}; expand it first")
        rule = RULES.get(node.op.name)
        if rule is None:
            raise SmeltError(f"derived weight holds {node.op.name}, which has no compile-time rule")
        operands = [None if t is None else values[id(t)] for t in node.operands]
        result = rule(*operands, **dict(node.attrs))
        if node.op.name == "quantize_weight":
            self._newest = (node, result)
            return result
        return result if isinstance(result, tuple) else result.astype(node.dtype.numpy, copy=False)


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
    "quantize_weight": quantize,
}
