"""Moving elements: views where strides can say it, copies where they cannot."""

from __future__ import annotations

import struct

from smelt.backends.edge.lowering import Lowering
from smelt.backends.edge.value import Value, expanded, permuted, reshaped, sliced
from smelt.ir.tensor import Tensor


def reshape(low: Lowering, node: Tensor) -> Value:
    """A view, or a view of a copy."""
    x = _viewable(low, node.inputs[0])
    found = reshaped(x, node.shape)
    if found is None:
        found = reshaped(low.graph.copy(x), node.shape)
    assert found is not None
    return found


def permute(low: Lowering, node: Tensor) -> Value:
    return permuted(_viewable(low, node.inputs[0]), node.attr("axes"))


def expand(low: Lowering, node: Tensor) -> Value:
    return expanded(_viewable(low, node.inputs[0]), node.shape)


def slice_(low: Lowering, node: Tensor) -> Value:
    axis = node.attr("axis") % node.type.rank
    x = _viewable(low, node.inputs[0])
    return sliced(x, axis, node.attr("start"), node.shape[axis], node.attr("step"))


def _viewable(low: Lowering, node: Tensor) -> Value:
    """State lies as the runtime decides: another view of it needs a copy."""
    x = low.value(node)
    if x.storage == "state":
        return low.once(("copy", x), lambda: low.graph.copy(x))
    return x


def concat(low: Lowering, node: Tensor) -> Value:
    """Each part is copied into its place."""
    axis = node.attr("axis") % node.type.rank
    out = low.graph.new(node.shape, node.dtype)
    start = 0
    for operand in node.inputs:
        part = low.value(operand)
        size = part.shape[axis]
        if size != 0:
            low.graph.emit("copy", [sliced(out, axis, start, size)], [part])
        start = start + size
    return out


def pad(low: Lowering, node: Tensor) -> Value:
    axis = node.attr("axis") % node.type.rank
    words = (axis, node.attr("before"), *halves(node.attr("value")))
    return low.graph.made("pad", node.shape, node.dtype, [low.value(node.inputs[0])], *words)


def flip(low: Lowering, node: Tensor) -> Value:
    axis = node.attr("axis") % node.type.rank
    return low.graph.made("flip", node.shape, node.dtype, [low.value(node.inputs[0])], axis)


def full(low: Lowering, node: Tensor) -> Value:
    return low.graph.made("full", node.shape, node.dtype, [], *halves(node.attr("value")))


def arange(low: Lowering, node: Tensor) -> Value:
    return low.graph.made("arange", node.shape, node.dtype, [], node.attr("start"))


def cast(low: Lowering, node: Tensor) -> Value:
    x = low.value(node.inputs[0])
    if x.dtype is node.dtype:
        return x
    key = ("cast", x, node.dtype)
    return low.once(key, lambda: low.graph.made("cast", node.shape, node.dtype, [x]))


def item(low: Lowering, node: Tensor) -> Value:
    index: int = node.attr("index")
    return low.results(node.inputs[0])[index]


def halves(value: float) -> tuple[int, int]:
    """The bits of an f64, low word first."""
    low, high = struct.unpack("<II", struct.pack("<d", float(value)))
    return low, high
