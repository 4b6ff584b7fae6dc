"""Moving elements: views where strides can say it, copies where they cannot."""

from __future__ import annotations

import struct

from smelt.backends.edge.lowering import Lowering
from smelt.backends.edge.value import Value, expanded, permuted, reshaped, sliced
from smelt.ir.tensor import Tensor


def reshape(l: Lowering, node: Tensor) -> Value:
    """A view, or a view of a copy."""
    x = _viewable(l, node.inputs[0])
    found = reshaped(x, node.shape)
    if found is None:
        found = reshaped(l.graph.copy(x), node.shape)
    assert found is not None
    return found


def permute(l: Lowering, node: Tensor) -> Value:
    return permuted(_viewable(l, node.inputs[0]), node.attr("axes"))


def expand(l: Lowering, node: Tensor) -> Value:
    return expanded(_viewable(l, node.inputs[0]), node.shape)


def slice_(l: Lowering, node: Tensor) -> Value:
    axis = node.attr("axis") % node.type.rank
    x = _viewable(l, node.inputs[0])
    return sliced(x, axis, node.attr("start"), node.shape[axis], node.attr("step"))


def _viewable(l: Lowering, node: Tensor) -> Value:
    """State lies as the runtime decides: another view of it needs a copy."""
    x = l.value(node)
    if x.storage == "state":
        return l.once(("copy", x), lambda: l.graph.copy(x))
    return x


def concat(l: Lowering, node: Tensor) -> Value:
    """Each part is copied into its place."""
    axis = node.attr("axis") % node.type.rank
    out = l.graph.new(node.shape, node.dtype)
    start = 0
    for operand in node.inputs:
        part = l.value(operand)
        size = part.shape[axis]
        if size != 0:
            l.graph.emit("copy", [sliced(out, axis, start, size)], [part])
        start = start + size  # type: ignore[assignment]
    return out


def pad(l: Lowering, node: Tensor) -> Value:
    axis = node.attr("axis") % node.type.rank
    words = (axis, node.attr("before"), *halves(node.attr("value")))
    return l.graph.made("pad", node.shape, node.dtype, [l.value(node.inputs[0])], *words)


def flip(l: Lowering, node: Tensor) -> Value:
    axis = node.attr("axis") % node.type.rank
    return l.graph.made("flip", node.shape, node.dtype, [l.value(node.inputs[0])], axis)


def full(l: Lowering, node: Tensor) -> Value:
    return l.graph.made("full", node.shape, node.dtype, [], *halves(node.attr("value")))


def arange(l: Lowering, node: Tensor) -> Value:
    return l.graph.made("arange", node.shape, node.dtype, [], node.attr("start"))


def cast(l: Lowering, node: Tensor) -> Value:
    x = l.value(node.inputs[0])
    if x.dtype is node.dtype:
        return x
    key = ("cast", x, node.dtype)
    return l.once(key, lambda: l.graph.made("cast", node.shape, node.dtype, [x]))


def item(l: Lowering, node: Tensor) -> Value:
    return l.results(node.inputs[0])[node.attr("index")]


def halves(value: float) -> tuple[int, int]:
    """The bits of an f64, low word first."""
    low, high = struct.unpack("<II", struct.pack("<d", float(value)))
    return low, high

