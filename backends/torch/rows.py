"""One row for each primitive, and for the composites that torch has a faster form of."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from smelt.backends.torch.chunks import in_chunks
from smelt.errors import UnsupportedError
from smelt.ir.types import DType

if TYPE_CHECKING:
    from torch import Tensor

Row = Callable[..., Any]


def torch_dtype(dtype: DType) -> Any:
    """torch's name of an element type."""
    import torch

    names = {
        DType.F32: torch.float32,
        DType.F16: torch.float16,
        DType.BF16: torch.bfloat16,
        DType.I64: torch.int64,
        DType.I32: torch.int32,
        DType.I8: torch.int8,
        DType.U8: torch.uint8,
        DType.BOOL: torch.bool,
    }
    return names[dtype]


@cache
def primitives() -> dict[str, Row]:
    """Rows by op name. Leaves and state are the executor's own; see `module`."""
    import torch

    unary = "neg abs sign floor round sqrt rsqrt exp log sin cos tanh erf sigmoid logical_not"
    binary = "add sub mul maximum minimum pow logical_and logical_or where matmul"
    rows: dict[str, Row] = {name: getattr(torch, name) for name in f"{unary} {binary}".split()}
    rows |= {
        "div": _div,
        "mod": torch.remainder,
        "equal": torch.eq,
        "less": torch.lt,
        "less_equal": torch.le,
        "cast": lambda x, dtype: x.to(torch_dtype(dtype)),
        "reshape": lambda x, shape: x.reshape(shape),
        "permute": lambda x, axes: x.permute(axes),
        "expand": lambda x, shape: x.expand(shape),
        "concat": lambda *xs, axis: torch.cat(xs, dim=axis),
        "slice": _slice,
        "flip": lambda x, axis: x.flip(axis),
        "pad": _pad,
        "gather": _gather,
        "gather_elements": lambda x, i, axis: torch.gather(x, axis, i),
        "sum": lambda x, axes, keepdims: x.sum(dim=axes, keepdim=keepdims),
        "mean": lambda x, axes, keepdims: x.mean(dim=axes, keepdim=keepdims),
        "max": lambda x, axes, keepdims: torch.amax(x, dim=axes, keepdim=keepdims),
        "min": lambda x, axes, keepdims: torch.amin(x, dim=axes, keepdim=keepdims),
        "argmax": lambda x, axis: x.argmax(dim=axis),
        "cumsum": lambda x, axis: x.cumsum(dim=axis).to(x.dtype),
        "topk": _topk,
        "linear": torch.nn.functional.linear,
        "grouped_linear": _grouped_linear,
        "conv": _conv,
        "selective_scan": _selective_scan,
        "recurrence": _recurrence,
        "linear_attention": _linear_attention,
        "item": lambda xs, index: xs[index],
        "quantize_weight": _quantize_weight,
    }
    return rows


#: Composites that a target may compute more coarsely than f32 sums in another order.
COARSE = frozenset({"bf16_attention"})


@cache
def fused() -> dict[str, Row]:
    """Rows of composites, by op name; without one a composite is expanded."""
    from torch.nn import functional

    return {
        "attention": _attention,
        "bf16_attention": _bf16_attention,
        "layer_norm": _layer_norm,
        "rms_norm": _rms_norm,
        "softmax": lambda x: functional.softmax(x, dim=-1),
        "silu": functional.silu,
        "relu": functional.relu,
        "gelu": functional.gelu,
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "softplus": functional.softplus,
    }


def _div(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else a.div(b, rounding_mode="floor")


def _slice(x: Tensor, axis: int, start: int, stop: int, step: int) -> Tensor:
    index = [slice(None)] * x.dim()
    index[axis] = slice(start, stop, step)
    return x[tuple(index)]


def _pad(x: Tensor, axis: int, before: int, after: int, value: float) -> Tensor:
    from torch.nn import functional

    widths = [0, 0] * (x.dim() - axis % x.dim() - 1) + [before, after]
    return functional.pad(x, widths, value=value)


def _gather(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    from torch.nn import functional

    if axis == 0 and x.dim() == 2:
        return functional.embedding(indices, x)
    axis %= x.dim()
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, indices.reshape(-1)).reshape(shape)


def _topk(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    # torch.topk leaves the order of ties open; a stable sort does not.
    values, indices = x.sort(dim=-1, descending=True, stable=True)
    return values[..., :k], indices[..., :k]


def _grouped_linear(x: Tensor, weight: Any, indices: Tensor, bias: Tensor | None = None) -> Tensor:
    """``weight`` is a stacked tensor or a sequence of one matrix for each expert."""
    from torch.nn import functional

    rows = x.expand(*indices.shape, x.shape[-1]).reshape(-1, x.shape[-1])
    chosen = indices.reshape(-1)
    y = rows.new_zeros(len(rows), weight[0].shape[0])
    for expert in chosen.unique().tolist():
        at = (chosen == expert).nonzero()[:, 0]
        offset = None if bias is None else bias[expert]
        y = y.index_put((at,), functional.linear(rows[at], weight[expert], offset))
    return y.reshape(*indices.shape, -1)


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    import torch
    from torch.nn import functional

    spatial = len(stride)
    pairs = [padding[2 * i : 2 * i + 2] for i in range(spatial)]
    x = functional.pad(x, [p for pair in reversed(pairs) for p in pair])
    run = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}[spatial]
    return run(x, weight, bias, stride, 0, dilation, groups)


def _selective_scan(
    x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    import torch

    outputs = []
    for t in range(x.shape[1]):
        step = delta[:, t, :, None]
        state = torch.exp(step * a) * state + step * b[:, t, None, :] * x[:, t, :, None]
        outputs.append((state * c[:, t, None, :]).sum(-1))
    return torch.stack(outputs, 1), state


def _recurrence(x: Tensor, decay: Tensor, state: Tensor, kind: str) -> Tensor:
    import torch

    outputs = []
    for t in range(x.shape[1]):
        if kind == "max":
            state = torch.maximum(state + decay[:, t], x[:, t])
        else:
            state = decay[:, t] * state + x[:, t]
        outputs.append(state)
    return torch.stack(outputs, 1)


def _linear_attention(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor]:
    import torch

    if beta is None and decay.shape[3] == 1 and v.shape[1] > 1:
        return in_chunks(q, k, v, decay, state)
    group = v.shape[2] // k.shape[2]
    q, k = q.repeat_interleave(group, 2)[..., None], k.repeat_interleave(group, 2)[..., None]
    factor = decay.exp()[..., None]
    outputs = []
    for t in range(v.shape[1]):
        state = state * factor[:, t]
        learned = v[:, t]
        if beta is not None:
            learned = beta[:, t, :, None] * (learned - (state * k[:, t]).sum(-2))
        state = state + k[:, t] * learned[..., None, :]
        outputs.append((state * q[:, t]).sum(-2))
    return torch.stack(outputs, 1), state


def _quantize_weight(w: Tensor, bits: int, group: int, symmetric: bool) -> tuple[Tensor, ...]:
    raise UnsupportedError("weights are quantized at compile time, not while running")


def _layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    from torch.nn import functional

    return functional.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _rms_norm(x: Tensor, weight: Tensor | None, eps: float, offset: float) -> Tensor:
    from torch.nn import functional

    if weight is not None and offset:
        # The sum needs f32: weights near 1 lose their small part in bf16.
        unit = functional.rms_norm(x.float(), x.shape[-1:], weight.float() + offset, eps)
        return unit.to(x.dtype)
    return functional.rms_norm(x, x.shape[-1:], weight, eps)


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    sinks: Tensor | None,
    scale: float,
    causal: bool,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """torch's fused kernel where it applies, else the same sums spelled out."""
    import torch
    from torch.nn import functional

    seq, keys = q.shape[2], k.shape[2]
    allowed = None
    if (causal and seq > 1) or window is not None:
        query = torch.arange(keys - seq, keys, device=q.device)[:, None]
        distance = query - torch.arange(keys, device=q.device)[None]
        allowed = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
        if window is not None:
            allowed = allowed & (distance.abs() < window)
    if mask is not None:
        real = mask[:, None, None, mask.shape[1] - keys :] != 0
        allowed = real if allowed is None else allowed & real
    if softcap is None and sinks is None:
        added = _added(allowed, bias, q)
        return functional.scaled_dot_product_attention(
            q, k, v, attn_mask=added, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
        )
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = (q @ k.transpose(-1, -2)) * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    added = _added(allowed, bias, q)
    if added is not None:
        scores = scores + added
    if sinks is not None:
        column = sinks.reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        scores = torch.cat([scores, column], -1)
    weights = functional.softmax(scores.float(), dim=-1).to(q.dtype)
    return weights[..., :keys] @ v


def _bf16_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    sinks: Tensor | None,
    scale: float,
    **attrs: Any,
) -> Tensor:
    import torch

    q, k, v = (x.to(torch.bfloat16).to(x.dtype) for x in (q * scale, k, v))
    return _attention(q, k, v, mask, bias, sinks, scale=1.0, **attrs)


def _added(allowed: Tensor | None, bias: Tensor | None, q: Tensor) -> Tensor | None:
    """One additive mask of both; forbidden scores get the dtype's lowest value, which keeps NaN
    out."""
    import torch

    if allowed is None:
        return bias
    lowest = torch.finfo(q.dtype).min
    zero = torch.zeros((), dtype=q.dtype, device=q.device)
    floor = torch.where(allowed, zero, torch.full_like(zero, lowest))
    if bias is None:
        return floor
    return torch.where(allowed, bias.to(q.dtype), floor)
