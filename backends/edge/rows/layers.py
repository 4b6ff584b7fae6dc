"""Norms, rotary positions, attention and state."""

from __future__ import annotations

from smelt.backends.edge.lowering import Lowering, Row
from smelt.backends.edge.rows import shape
from smelt.backends.edge.value import Value, dense_strides, expanded
from smelt.errors import UnsupportedError
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType

#: Kernels keep a head's channels in registers and small buffers.
WIDEST_HEAD = 512
#: [batch, heads, seq, dim] stored token by token, so that heads merge without a copy.
TOKEN_MAJOR = (0, 2, 1, 3)


def norm(l: Lowering, node: Tensor) -> Value:
    x, *parameters = node.operands
    assert x is not None
    inputs = [l.dense(x), *map(l.optional, parameters)]
    return l.graph.made(node.op.name, node.shape, node.dtype, inputs, *_words(node))


def add_norm(l: Lowering, node: Tensor) -> tuple[Value, ...]:
    x, y, *parameters = node.operands
    assert x is not None and y is not None
    outputs = tuple(l.graph.new(x.shape, x.dtype) for _ in range(2))
    inputs = [l.dense(x), l.dense(y), *map(l.optional, parameters)]
    l.graph.emit(node.op.name, outputs, inputs, *_words(node))
    return outputs


def _words(node: Tensor) -> tuple[float, ...]:
    eps = float(node.attr("eps"))
    return (eps,) if "layer_norm" in node.op.name else (eps, float(node.attr("offset")))


def rope(l: Lowering, node: Tensor) -> Value:
    x = _heads(l, l.value(node.inputs[0]))
    tables = [l.dense(t) for t in node.inputs[1:]]
    interleaved = int(node.attr("interleaved"))
    return l.graph.made(
        "rope", node.shape, node.dtype, [x, *tables], interleaved, order=TOKEN_MAJOR
    )


def attention(l: Lowering, node: Tensor) -> Value:
    q, k, v, mask, bias, sinks = node.operands
    assert q is not None and k is not None and v is not None
    for operand in (q, v):
        size = operand.shape[3]
        if not isinstance(size, int) or size > WIDEST_HEAD:
            raise UnsupportedError(
                f"edge: attention over heads of {size} channels, at most {WIDEST_HEAD}",
                place=node.source,
            )
    inputs = [
        _heads(l, l.value(q)),
        _heads(l, l.raw(k)),
        _heads(l, l.raw(v)),
        None if mask is None else _mask(l, l.value(mask)),
        None if bias is None else _bias(l, l.value(bias), k),
        l.optional(sinks),
    ]
    words = (
        float(node.attr("scale")),
        float(node.attr("softcap") or 0.0),
        int(node.attr("causal")),
        int(node.attr("window") or 0),
    )
    return l.graph.made("attention", node.shape, DType.F32, inputs, *words, order=TOKEN_MAJOR)


def _heads(l: Lowering, x: Value) -> Value:
    """Kernels read any order of axes, if a head's channels are adjacent."""
    is_cache = x.storage == "state" and x.rank == 4
    return x if is_cache or x.has_dense_rows else l.graph.copy(x)


def _mask(l: Lowering, mask: Value) -> Value:
    """Integers as bool, once for all layers."""
    if mask.dtype is DType.BOOL:
        return l.graph.dense(mask)
    key = ("mask", mask)
    return l.once(key, lambda: l.graph.made("cast", mask.shape, DType.BOOL, [mask]))


def _bias(l: Lowering, bias: Value, k: Tensor) -> Value:
    keys = k.shape[2]
    if bias.shape[-1] != keys:
        bias = expanded(bias, (*bias.shape[:-1], keys))
    if bias.has_dense_rows:
        return bias
    return l.once(("bias", bias), lambda: l.graph.copy(bias))


def cache(l: Lowering, node: Tensor) -> Value:
    """Append, and what the slot holds then; where it lies is the runtime's affair."""
    (x,) = node.inputs
    name = node.attr("slot")
    slot = l.program.slots[name]
    if node.type.rank != 4 or node.attr("axis") % 4 != 2:
        raise UnsupportedError(
            f"edge: a cache {node.type} that grows along axis {node.attr('axis')}",
            place=node.source,
        )
    if slot.dtype is DType.I8 and x.op.name == "round_to_int8":
        (x,) = x.inputs  # storing rounds in the same way
    value = _heads(l, l.value(x))
    if value.storage == "state":
        value = l.graph.copy(value)
    l.graph.emit("append", [], [value], l.slots[name])
    is_plain = slot.layout == "full" and slot.dtype is DType.F32
    # The runtime knows the strides; these serve only to tell that the view is not dense.
    strides = (0, 0, 0, 1)
    return Value("state", l.slots[name], DType.F32, node.shape, strides, opaque=not is_plain)


def read(l: Lowering, node: Tensor) -> Value:
    index = l.slots[node.attr("slot")]
    return Value("state", index, node.dtype, node.shape, dense_strides(node.shape))


def round_to_int8(l: Lowering, node: Tensor) -> Value:
    """Only caches read it, and they take its operand."""
    return l.value(node.inputs[0])


ROWS: dict[str, Row] = {
    "rms_norm": norm,
    "layer_norm": norm,
    "add_rms_norm": add_norm,
    "add_layer_norm": add_norm,
    "rope": rope,
    "attention": attention,
    "cache": cache,
    "read": read,
    "round_to_int8": round_to_int8,
    "reshape": shape.reshape,
    "permute": shape.permute,
    "expand": shape.expand,
    "slice": shape.slice_,
    "concat": shape.concat,
    "pad": shape.pad,
    "flip": shape.flip,
    "full": shape.full,
    "arange": shape.arange,
    "cast": shape.cast,
    "item": shape.item,
}
