"""Linear attention whose heads decay as a whole: chunks of tokens at once, as matrix products."""

from __future__ import annotations

import numpy as np

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.value import Value
from smelt.ir.dims import Size, symbol
from smelt.ir.types import DType, Type

CHUNK = 64


def in_chunks(
    g: Graph, q: Value, k: Value, v: Value, decay: Value, state: Value
) -> tuple[Value, ...]:
    """``linear_attention`` without beta, with one decay for each head.

    Within a chunk the tokens see each other as in attention, weighed by how much has decayed
    between them; the state goes from chunk to chunk. A shorter text is one chunk of its own length.
    Source: Dao and Gu 2024, section 6.
    """
    length = g.op("Min", g.size(v.shape[1]), g.ints(CHUNK))
    count = _round_up(g, g.size(v.shape[1]), length)
    missing = g.op("Sub", g.op("Mul", count, length), g.size(v.shape[1]))
    scanned = [_cut(g, x, length, missing) for x in (q, k, v, decay)]
    numbers = g.op("Range", g.number(0, DType.I64), g.op("Squeeze", length), g.number(1, DType.I64))
    row, column = g.op("Unsqueeze", numbers, g.ints(0)), g.op("Unsqueeze", numbers, g.ints(1))
    seen = g.cast(g.op("GreaterOrEqual", column, row), v.dtype)
    before = g.cast(g.op("Greater", column, row), v.dtype)
    types = [state.type, *(_chunk(x) for x in (q, k, v, decay))]
    heads, key_heads = v.shape[2], k.shape[2]
    assert isinstance(heads, int) and isinstance(key_heads, int)
    served = g.const(np.repeat(np.arange(key_heads, dtype=np.int64), heads // key_heads))

    def wide(x: Value) -> Value:
        return x if heads == key_heads else g.op("Gather", x, served, axis=1)

    def step(s: Value, qc: Value, kc: Value, vc: Value, dc: Value) -> tuple[Value, Value]:
        return _step(g, wide, seen, before, s, qc, kc, vc, dc)

    last, chunks = g.ops(
        "Scan",
        state,
        *scanned,
        outputs=2,
        body=g.body("chunk", types, step),
        num_scan_inputs=4,
        scan_input_axes=[1] * 4,
        scan_output_axes=[1],
    )
    whole = g.op("Reshape", chunks, g.ints(0, -1, heads, _fixed(v.shape[3])))
    y = g.op("Slice", whole, g.ints(0), g.size(v.shape[1]), g.ints(1))
    return y, last


def _step(
    g: Graph,
    wide: object,
    seen: Value,
    before: Value,
    s: Value,
    q: Value,
    k: Value,
    v: Value,
    decay: Value,
) -> tuple[Value, Value]:
    assert callable(wide)
    by_head = [0, 2, 1, 3]
    v, decay = g.op("Transpose", v, perm=by_head), g.op("Transpose", decay, perm=by_head)
    q, keys = g.op("Transpose", q, perm=by_head), g.op("Transpose", k, perm=[0, 2, 3, 1])
    # between[i, j]: the sum of the decays of tokens j + 1 to i, each summed on its own, since the
    # difference of two long sums would be less exact.
    axis = g.number(2, DType.I64)
    between = g.op("CumSum", g.op("Mul", decay, before), axis)
    weights = g.op("Mul", g.op("Exp", between), seen)
    scores = g.op("Mul", wide(g.op("MatMul", q, keys)), weights)
    since = g.op("Exp", g.op("CumSum", decay, axis))
    kept = g.op("Mul", g.op("MatMul", wide(q), s), since)
    y = g.op("Add", g.op("MatMul", scores, v), kept)
    # What is left of each token at the end of the chunk: the last row.
    left = g.op("Slice", weights, g.ints(-1), g.ints(2**62), g.ints(2))
    learned = g.op("MatMul", g.op("Mul", wide(keys), left), v)
    fade = g.op("Slice", since, g.ints(-1), g.ints(2**62), g.ints(2))
    return g.op("Add", g.op("Mul", s, fade), learned), g.op("Transpose", y, perm=by_head)


def _round_up(g: Graph, size: Value, by: Value) -> Value:
    return g.op("Div", g.op("Sub", g.op("Add", size, by), g.ints(1)), by)


def _cut(g: Graph, x: Value, length: Value, missing: Value) -> Value:
    """x [batch, seq, a, b] as [batch, chunks, length, a, b]; zeros after the end change nothing."""
    pads = g.op("Concat", g.ints(0, 0, 0, 0, 0), missing, g.ints(0, 0), axis=0)
    sizes = g.ints(*(_fixed(size) for size in x.shape[2:]))
    shape = g.op("Concat", g.ints(0, -1), length, sizes, axis=0)
    return g.op("Reshape", g.op("Pad", x, pads), shape)


def _chunk(x: Value) -> Type:
    return Type((x.shape[0], symbol("chunk"), *x.shape[2:]), x.dtype)


def _fixed(size: Size) -> int:
    assert isinstance(size, int)
    return size
