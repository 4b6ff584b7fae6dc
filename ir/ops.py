# ruff: noqa: F401
"""The whole vocabulary of ops under one name: ``ops.rms_norm(x, w, eps=1e-6)``."""

from __future__ import annotations

from smelt.ir.composites.activations import (
    clamp,
    gated,
    gelu,
    gelu_sigmoid,
    gelu_tanh,
    linear_activation,
    relu,
    silu,
    softcap,
    softmax,
    softplus,
)
from smelt.ir.composites.angles import acos
from smelt.ir.composites.attention import (
    attention,
    merge_heads,
    relative_shift,
    rope,
    rope_table,
    split_heads,
)
from smelt.ir.composites.bf16 import (
    bf16_attention,
    bf16_gather,
    bf16_grouped_linear,
    bf16_linear,
)
from smelt.ir.composites.calls import is_further_token
from smelt.ir.composites.norms import add_layer_norm, add_rms_norm, layer_norm, rms_norm
from smelt.ir.composites.quantized import (
    dequantize,
    quantize_activation,
    quantized_gather,
    quantized_grouped_linear,
    quantized_linear,
    round_to_int8,
)
from smelt.ir.op import OPS
from smelt.ir.primitives.elementwise import (
    abs,
    add,
    cast,
    cos,
    div,
    equal,
    erf,
    exp,
    floor,
    less,
    less_equal,
    log,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    mod,
    mul,
    neg,
    pow,
    round,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    sub,
    tanh,
    where,
)
from smelt.ir.primitives.leaves import arange, cache, const, full, input, item, param, read, weight
from smelt.ir.primitives.matrix import (
    conv,
    grouped_linear,
    linear,
    matmul,
    quantize_weight,
    selective_scan,
)
from smelt.ir.primitives.recurrence import linear_attention, recurrence
from smelt.ir.primitives.reduce import argmax, cumsum, max, mean, min, sum, topk
from smelt.ir.primitives.shape import (
    concat,
    expand,
    flip,
    gather,
    gather_elements,
    pad,
    permute,
    reshape,
    slice,
)
