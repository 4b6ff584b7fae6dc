"""Norms, rotary positions, attention and state."""

from __future__ import annotations

from smelt.backends.edge.lowering import Lowering, Row
from smelt.backends.edge.rows import shape
from smelt.backends.edge.value import Sizes, Value, dense_strides, expanded, reshaped
from smelt.errors import UnsupportedError
from smelt.ir.program import Function, Program
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType

#: Kernels keep a head's channels in registers and small buffers.
WIDEST_HEAD = 512
#: [batch, heads, seq, dim] stored token by token, so that heads merge without a copy.
TOKEN_MAJOR = (0, 2, 1, 3)


def norm(low: Lowering, node: Tensor) -> Value:
    x, *parameters = node.operands
    assert x is not None
    inputs = [low.dense(x), *map(low.optional, parameters)]
    return low.graph.made(node.op.name, node.shape, node.dtype, inputs, *_words(node))


def add_norm(low: Lowering, node: Tensor) -> tuple[Value, ...]:
    x, y, *parameters = node.operands
    assert x is not None and y is not None
    outputs = tuple(low.graph.new(x.shape, x.dtype) for _ in range(2))
    other = low.graph.dense(expanded(low.value(y), x.shape))
    inputs = [low.dense(x), other, *map(low.optional, parameters)]
    low.graph.emit(node.op.name, outputs, inputs, *_words(node))
    return outputs


def _words(node: Tensor) -> tuple[float, ...]:
    eps = float(node.attr("eps"))
    return (eps,) if "layer_norm" in node.op.name else (eps, float(node.attr("offset")))


def rope(low: Lowering, node: Tensor) -> Value:
    x = _heads(low, low.value(node.inputs[0]))
    tables = [low.dense(t) for t in node.inputs[1:]]
    interleaved = int(node.attr("interleaved"))
    return low.graph.made(
        "rope", node.shape, node.dtype, [x, *tables], interleaved, order=TOKEN_MAJOR
    )


def attention(low: Lowering, node: Tensor) -> Value:
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
        _heads(low, low.value(q)),
        _heads(low, low.raw(k)),
        _heads(low, low.raw(v)),
        None if mask is None else _mask(low, low.value(mask)),
        None if bias is None else _bias(low, low.value(bias), k),
        low.optional(sinks),
    ]
    words = (
        float(node.attr("scale")),
        float(node.attr("softcap") or 0.0),
        int(node.attr("causal")),
        int(node.attr("window") or 0),
        int(node.op.name == "bf16_attention"),
    )
    return low.graph.made("attention", node.shape, DType.F32, inputs, *words, order=TOKEN_MAJOR)


def _heads(low: Lowering, x: Value) -> Value:
    """Kernels read any order of axes, if a head's channels are adjacent."""
    is_cache = x.storage == "state" and x.rank == 4
    return x if is_cache or x.has_dense_rows else low.graph.copy(x)


def _mask(low: Lowering, mask: Value) -> Value:
    """Integers as bool, once for all layers."""
    if mask.dtype is DType.BOOL:
        return low.graph.dense(mask)
    key = ("mask", mask)
    return low.once(key, lambda: low.graph.made("cast", mask.shape, DType.BOOL, [mask]))


def _bias(low: Lowering, bias: Value, k: Tensor) -> Value:
    keys = k.shape[2]
    if bias.shape[-1] != keys:
        bias = expanded(bias, (*bias.shape[:-1], keys))
    if bias.has_dense_rows:
        return bias
    return low.once(("bias", bias), lambda: low.graph.copy(bias))


def cache(low: Lowering, node: Tensor) -> Value:
    """Append, and what the slot holds then; where it lies is the runtime's affair."""
    (x,) = node.inputs
    name = node.attr("slot")
    slot = low.program.slots[name]
    if node.type.rank != 4 or node.attr("axis") % 4 != 2:
        raise UnsupportedError(
            f"edge: a cache {node.type} that grows along axis {node.attr('axis')}",
            place=node.source,
        )
    if id(x) in low.absorbed:
        (x,) = x.inputs  # storing rounds in the same way
    value = _heads(low, low.value(x))
    if value.storage == "state":
        value = low.graph.copy(value)
    low.graph.emit("append", [], [value], low.slots[name])
    is_plain = slot.layout == "full" and slot.dtype is DType.F32
    # The runtime knows the strides; these serve only to tell that the view is not dense.
    strides = (0, 0, 0, 1)
    return Value("state", low.slots[name], DType.F32, node.shape, strides, opaque=not is_plain)


def read(low: Lowering, node: Tensor) -> Value:
    index = low.slots[node.attr("slot")]
    return Value("state", index, node.dtype, node.shape, dense_strides(node.shape))


def stored(program: Program, function: Function) -> dict[int, Tensor]:
    """Roundings that only int8 caches read: writing to the slot rounds."""
    others, found = {id(root) for root in function.roots}, {}
    for node in function.nodes():
        for x in node.inputs:
            if x.op.name != "round_to_int8":
                continue
            if node.op.name == "cache" and program.slots[node.attr("slot")].dtype is DType.I8:
                found[id(x)] = x
            else:
                others.add(id(x))
    return {key: node for key, node in found.items() if key not in others}


def quantize_activation(low: Lowering, node: Tensor) -> tuple[Value, ...]:
    (x,) = node.inputs
    codes, scales = (item.shape for item in node.result.items)  # type: ignore[union-attr]
    value, width = low.value(x), codes[-1] * codes[-2]
    if width != x.shape[-1]:
        wide = (*x.shape[:-1], width)
        words = (len(wide) - 1, 0, *shape.halves(0.0))
        value = low.graph.made("pad", wide, x.dtype, [value], *words)
    return _quantized(low, value, codes, scales, node.attr("group"))


def _quantized(
    low: Lowering, x: Value, codes: Sizes, scales: Sizes, group: int
) -> tuple[Value, Value]:
    outputs = (low.graph.new(codes, DType.I8), low.graph.new(scales, DType.F32))
    low.graph.emit("quantize", outputs, [x if x.is_rows else low.graph.copy(x)], group)
    return outputs


def round_to_int8(low: Lowering, node: Tensor) -> Value:
    """What an int8 cache would give back, where something else reads it."""
    lead, size = node.shape[:-1], node.shape[-1]
    assert isinstance(size, int)
    outer = (*lead, 1, size)
    codes, scales = _quantized(low, low.value(node.inputs[0]), outer, (*lead, 1, 1), size)
    plain = low.graph.made("cast", outer, DType.F32, [codes])
    found = reshaped(low.graph.made("mul", outer, DType.F32, [plain, scales]), node.shape)
    assert found is not None
    return found


ROWS: dict[str, Row] = {
    "rms_norm": norm,
    "layer_norm": norm,
    "add_rms_norm": add_norm,
    "add_layer_norm": add_norm,
    "rope": rope,
    "attention": attention,
    "bf16_attention": attention,
    "cache": cache,
    "read": read,
    "quantize_activation": quantize_activation,
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
