"""Recurrences along a text: what each token makes of what the tokens before it left.

Each has one meaning, token after token; a backend may compute many tokens at once.
"""

from __future__ import annotations

from math import prod

from smelt.errors import SmeltError
from smelt.ir.op import primitive
from smelt.ir.primitives.rules import is_float, is_rank, same_dtype, typed
from smelt.ir.tensor import Tensor
from smelt.ir.types import Type

#: How ``recurrence`` joins a token with the past: a decayed sum, or the largest of shifted values.
KINDS = ("sum", "max")


@primitive
def recurrence(x: Tensor, decay: Tensor, state: Tensor, *, kind: str = "sum") -> Type:
    """y[t] = decay[t] · y[t - 1] + x[t], or max(y[t - 1] + decay[t], x[t]) of kind "max".

    x, decay [batch, seq, *sizes]; state [batch, *sizes] is y before the first token.
    """
    is_float(x)
    same_dtype(x, decay, state)
    if kind not in KINDS:
        raise SmeltError(f"kind is {kind!r}, wants one of {', '.join(KINDS)}")
    if x.type.rank < 3 or decay.shape != x.shape:
        raise SmeltError(f"x is {x.type}, decay is {decay.type}")
    if state.shape != (x.shape[0], *x.shape[2:]):
        raise SmeltError(f"state is {state.type}, x is {x.type}")
    return x.type


@primitive(flops=lambda out, q, k, v, *_: 7 * prod(v.shape) * k.shape[-1])
def linear_attention(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor | None, state: Tensor
) -> tuple[Type, Type]:
    """Attention that keeps a matrix instead of keys: S ← exp(decay)·S + k·uᵀ, y = Sᵀ·q.

    u is v; with beta it is the delta rule's beta·(v - Sᵀ·k), where S has decayed already: what the
    matrix still has to learn of k. q, k [batch, seq, key_heads, dim] (each key head serves
    heads / key_heads neighbours); v [batch, seq, heads, width]; decay [batch, seq, heads, 1 | dim];
    beta [batch, seq, heads]; state [batch, heads, dim, width]. Gives y [batch, seq, heads, width]
    and the last state. Source: Yang et al. 2024 (gated delta networks).
    """
    is_float(q)
    same_dtype(q, k, v, decay, beta, state)
    for name, tensor in (("q", q), ("k", k), ("v", v), ("decay", decay), ("state", state)):
        is_rank(tensor, 4, name)
    batch, seq, heads, width = v.shape
    key_heads, dim = k.shape[2:]
    if q.shape != k.shape or k.shape[:2] != v.shape[:2]:
        raise SmeltError(f"q is {q.type}, k is {k.type}, v is {v.type}")
    if not isinstance(heads, int) or not isinstance(key_heads, int) or heads % key_heads:
        raise SmeltError(f"{heads} heads are not a multiple of {key_heads} key heads")
    if decay.shape not in ((batch, seq, heads, 1), (batch, seq, heads, dim)):
        raise SmeltError(f"decay is {decay.type}, wants one for each head or each of {dim} rows")
    if beta is not None and beta.shape != (batch, seq, heads):
        raise SmeltError(f"beta is {beta.type}, wants one for each of {heads} heads")
    if state.shape != (batch, heads, dim, width):
        raise SmeltError(f"state is {state.type}, wants [{batch}, {heads}, {dim}, {width}]")
    return typed(v, v.shape), state.type
