"""Attention: grouped queries over a cache that is written in place, and multi-head without one.

Padding on the left is given to GroupQueryAttention as tokens like any other, and masked by a
bias. A query that may see no key at all (padding itself) gets some average of values; which one is
not defined, and nothing reads it.
"""

from __future__ import annotations

from smelt.backends.onnx.contrib.heads import from_rows, rows_of
from smelt.backends.onnx.contrib.norms import is_f32
from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Row, Rows
from smelt.backends.onnx.value import Value
from smelt.ir.composites.attention import forbidden
from smelt.ir.program import Function
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType


def is_grouped(node: Tensor) -> bool:
    """Whether GroupQueryAttention computes this: causal, keys and values out of caches."""
    q, k, v, _, bias, _ = node.operands
    assert q is not None and k is not None and v is not None
    if not (is_f32(node) and node.attr("causal") and k.op.name == v.op.name == "cache"):
        return False
    heads, seq, dim = q.shape[1:]
    is_plain = all(
        cache.attr("axis") % 4 == 2 and cache.inputs[0].shape[2] == seq for cache in (k, v)
    )
    if not (isinstance(heads, int) and isinstance(k.shape[1], int) and isinstance(dim, int)):
        return False
    return (
        is_plain
        and k.shape[:2] == v.shape[:2]
        and k.shape[3] == v.shape[3] == dim
        and dim % 8 == 0
        and (bias is None or (_is_whole(node, bias) and node.attr("softcap") is None))
    )


def _is_whole(node: Tensor, bias: Tensor) -> bool:
    """Whether a bias has a row for every query and a column for every key."""
    q, k = node.inputs[:2]
    return bias.type.rank == 4 and bias.shape[2:] == (q.shape[2], k.shape[2])


def _grouped(
    g: Graph,
    q: Value,
    k: Value,
    v: Value,
    mask: Value | None,
    bias: Value | None,
    sinks: Value | None,
    scale: float,
    causal: bool,
    window: int | None,
    softcap: float | None,
) -> Value:
    batch, heads, seq, dim = q.shape
    keys = k.shape[2]
    (new_k, new_v), slots = zip(*(_appended(cache) for cache in (k, v)), strict=True)
    added = _added(g, q, k, mask, bias)
    length = g.once(("length", keys), lambda: g.cast(g.scalar(keys), DType.I32))
    last = g.once(("last", batch, keys), lambda: _last(g, q, k))
    results = g.ops(
        "com.microsoft.GroupQueryAttention",
        rows_of(g, q),
        rows_of(g, new_k),
        rows_of(g, new_v),
        g.past[slots[0]],
        g.past[slots[1]],
        last,
        length,
        None,
        None,
        None,
        added,
        sinks,
        outputs=3,
        num_heads=heads,
        kv_num_heads=k.shape[1],
        scale=scale,
        local_window_size=window if window is not None else -1,
        softcap=softcap or 0.0,
    )
    for slot, present in zip(slots, results[1:], strict=True):
        g.append(slot, present)
    return from_rows(g, results[0], (batch, heads, seq, dim))


def _appended(cache: Value) -> tuple[Value, str]:
    assert cache.node is not None and cache.operands[0] is not None
    return cache.operands[0], cache.node.attr("slot")


def _last(g: Graph, q: Value, k: Value) -> Value:
    """The index of the newest key of each sequence: they all have as many, padding included."""
    index = g.op("Sub", g.size(k.shape[2]), g.ints(1))
    each = g.op("Expand", index, g.shape((q.shape[0],)))
    return g.cast(each, DType.I32)


def _added(g: Graph, q: Value, k: Value, mask: Value | None, bias: Value | None) -> Value | None:
    """Mask and bias as what is added to the scores [batch | 1, heads | 1, seq, keys]."""
    if mask is None:
        return bias
    batch, seq, keys = q.shape[0], q.shape[2], k.shape[2]

    def real() -> Value:
        newest = mask
        if mask.shape[1] != keys:
            width = mask.shape[1]
            newest = g.op("Slice", mask, g.size(width - keys), g.size(width), g.ints(1), g.ints(1))
        return g.op("Unsqueeze", g.cast(newest, DType.BOOL), g.ints(1, 2))

    def make() -> Value:
        allowed = g.once(("real", mask, keys), real)
        zero = g.number(0, DType.F32) if bias is None else bias
        added = g.op("Where", allowed, zero, g.number(forbidden(DType.F32), DType.F32))
        # Every query needs a row of its own.
        return g.op("Expand", added, g.shape((batch, 1, seq, keys)))

    return g.once(("added", mask, bias, seq, keys), make)


def is_multi_head(node: Tensor) -> bool:
    """Whether MultiHeadAttention computes this: as many key heads, every key in sight."""
    q, k, v, _, bias, sinks = node.operands
    assert q is not None and k is not None and v is not None
    heads, dim = q.shape[1], q.shape[3]
    return (
        is_f32(node)
        and not node.attr("causal")
        and node.attr("window") is None
        and node.attr("softcap") is None
        and sinks is None
        and isinstance(heads, int)
        and isinstance(dim, int)
        and k.shape[1] == heads
        and isinstance(v.shape[3], int)
        and (bias is None or _is_whole(node, bias))
    )


def _multi_head(
    g: Graph,
    q: Value,
    k: Value,
    v: Value,
    mask: Value | None,
    bias: Value | None,
    sinks: Value | None,
    scale: float,
    causal: bool,
    window: int | None,
    softcap: float | None,
) -> Value:
    batch, heads, seq, _ = q.shape
    y = g.op(
        "com.microsoft.MultiHeadAttention",
        rows_of(g, q),
        *_keys_and_values(g, k, v),
        None,
        None,
        _added(g, q, k, mask, bias),
        num_heads=heads,
        scale=scale,
    )
    return from_rows(g, y, (batch, heads, seq, v.shape[3]))


def _keys_and_values(g: Graph, k: Value, v: Value) -> tuple[Value, Value]:
    """Both as rows, or both by heads where state holds them so: either form is read as it is."""
    if k.rows is None and v.rows is None:
        return k, v
    return rows_of(g, k), rows_of(g, v)


def is_in_place(function: Function) -> bool:
    """Whether every cache is read by GroupQueryAttention alone, which can write it in place."""
    caches = {node for node in function.nodes() if node.op.name == "cache"}
    readers: dict[Tensor, list[Tensor]] = {cache: [] for cache in caches}
    for node in function.nodes():
        for operand in node.inputs:
            if operand in caches:
                readers[operand].append(node)
    return all(
        node.op.name == "attention" and is_grouped(node)
        for nodes in readers.values()
        for node in nodes
    ) and caches.isdisjoint(function.roots)


ROWS: Rows = {"attention": Row(_grouped, is_grouped)}
MORE: Rows = {"attention": Row(_multi_head, is_multi_head)}
