"""Read attention off a graph that spells it out: which tensors are q, k, v, masks, and which
numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from smelt.errors import SmeltError
from smelt.ir import ops
from smelt.ir.composites.attention import forbidden, visible_keys
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType


def _plain(q: Tensor, k: Tensor, v: Tensor, after: bool, **given: Any) -> Tensor:
    """Attention as people write it: four axes, keys and values repeated for their group of heads.

    ``after``: scores are scaled instead of queries.
    """
    scale = given["scale"]
    k, v = _repeated(k, q.shape[1]), _repeated(v, q.shape[1])
    columns = ops.permute(k, axes=(0, 1, 3, 2))
    scores = ops.matmul(q, columns) * scale if after else ops.matmul(q * scale, columns)
    if given["softcap"] is not None:
        scores = ops.softcap(scores, limit=given["softcap"])
    if given["bias"] is not None:
        scores = scores + given["bias"]
    allowed = visible_keys(q.shape[2], k.shape[2], given["causal"], given["window"])
    mask = given["mask"]
    if mask is not None:
        width, keys = mask.shape[1], k.shape[2]
        newest = ops.slice(mask, axis=1, start=width - keys, stop=width)
        real = ops.cast(ops.reshape(newest, shape=(mask.shape[0], 1, 1, keys)), dtype=DType.BOOL)
        allowed = real if allowed is None else ops.logical_and(allowed, real)
    if allowed is not None:
        scores = ops.where(allowed, scores, forbidden(scores.dtype))
    return ops.matmul(ops.softmax(scores), v)  # type: ignore[no-any-return]


def _repeated(x: Tensor, heads: Any) -> Tensor:
    batch, own, keys, dim = x.shape
    if own == heads:
        return x
    if not isinstance(own, int) or heads % own:
        raise SmeltError(f"{heads} query heads are not a multiple of {own} key heads")
    each = ops.reshape(x, shape=(batch, own, 1, keys, dim))
    wide = ops.expand(each, shape=(batch, own, heads // own, keys, dim))
    return ops.reshape(wide, shape=(batch, heads, keys, dim))  # type: ignore[no-any-return]


def _form(after: bool) -> Callable[..., Tensor]:
    names = ("mask", "bias", "sinks")

    def form(q: Tensor, k: Tensor, v: Tensor, *rest: Tensor | None, **attrs: Any) -> Tensor:
        given = dict(zip(names, rest, strict=True))
        if given["sinks"] is not None:
            raise SmeltError("sinks have one spelling only")
        return _plain(q, k, v, after, **given, **attrs)

    return form


#: Other ways to write what the composite means; they round differently and mean the same.
plain_attention = (_form(after=True), _form(after=False))


@dataclass
class _Found:
    """What was read off on the way from the weights down to the scores."""

    mask: Tensor | None = None
    bias: Tensor | None = None
    sinks: Tensor | None = None
    attrs: dict[str, Any] = field(
        default_factory=lambda: {"scale": 1.0, "causal": False, "window": None, "softcap": None}
    )


def guess_attention(node: Tensor) -> Iterator[tuple[tuple[Tensor | None, ...], dict[str, Any]]]:
    """Calls of attention that this node may be."""
    product = node.inputs[0] if node.op.name == "reshape" else node
    if product.op.name != "matmul":
        return
    weights, values = product.inputs
    softmax = _through(weights, "reshape", "slice")
    if softmax.op.name != "softmax":
        return
    found = _Found()
    scores = _read_scores(softmax.inputs[0], found)
    if scores is None:
        return
    left, right = scores.inputs
    keys = right.inputs[0] if right.op.name == "permute" else right
    try:
        q, k, v = _unscaled(_queries(left), found), _own(keys), _own(values)
    except SmeltError:
        return
    yield (q, k, v, found.mask, found.bias, found.sinks), found.attrs


def _read_scores(x: Tensor, found: _Found) -> Tensor | None:
    """Peel masks, bias, cap and scale off the scores; gives the product of queries and keys."""
    while x.op.name != "matmul":
        match x.op.name:
            case "reshape":
                x = x.inputs[0]
            case "concat":
                found.sinks = _vector(x.inputs[1])
                x = x.inputs[0]
            case "where":
                _read_allowed(x.inputs[0], found)
                x = x.inputs[1]
            case "softcap":
                found.attrs["softcap"] = x.attr("limit")
                x = x.inputs[0]
            case "mul" if _number(x.inputs[1]) is not None:
                found.attrs["scale"] = _number(x.inputs[1])
                x = x.inputs[0]
            case "add":
                first, second = x.inputs
                deeper = _holds_product(first)
                found.bias = second if deeper else first
                x = first if deeper else second
            case _:
                return None
    return x


def _holds_product(x: Tensor) -> bool:
    while x.op.name in ("reshape", "mul", "softcap", "where", "add"):
        x = x.inputs[1] if x.op.name == "where" else x.inputs[0]
    return x.op.name == "matmul"


def _read_allowed(allowed: Tensor, found: _Found) -> None:
    """Tell padding from position in a condition made of parts that must all hold."""
    parts = [allowed]
    while parts:
        part = parts.pop()
        if part.op.name == "logical_and":
            parts.extend(part.inputs)
        elif part.op.name == "less_equal":
            found.attrs["causal"] = True
        elif part.op.name == "less":
            found.attrs["window"] = _whole(part.inputs[1])
        elif part.op.name == "cast":
            found.mask = _through(part.inputs[0], "reshape", "slice")


def _whole(x: Tensor) -> int | None:
    number = _number(x)
    return None if number is None else int(number)


def _number(x: Tensor) -> float | None:
    value = x.attr("value") if x.op.name == "const" else None
    return value if isinstance(value, (int, float)) else None


def _through(x: Tensor, *names: str) -> Tensor:
    while x.op.name in names:
        x = x.inputs[0]
    return x


def _vector(x: Tensor) -> Tensor:
    return _through(x, "expand", "reshape")


def _unscaled(x: Tensor, found: _Found) -> Tensor:
    if x.op.name == "mul" and (scale := _number(x.inputs[1])) is not None:
        found.attrs["scale"] = scale
        return x.inputs[0]
    return x


def _queries(x: Tensor) -> Tensor:
    """Queries as [batch, heads, seq, dim], from a form that groups them by key head."""
    if x.type.rank == 4:
        return x
    if x.op.name == "reshape" and x.inputs[0].type.rank == 4:
        return x.inputs[0]
    if x.type.rank != 5:
        raise SmeltError(f"queries are {x.type}, want four axes")
    batch, kv_heads, group, seq, dim = x.shape
    return ops.reshape(x, shape=(batch, kv_heads * group, seq, dim))  # type: ignore[no-any-return]


def _own(x: Tensor) -> Tensor:
    """Keys or values as [batch, kv_heads, keys, dim], from a form with an axis for the group."""
    inner = x
    if inner.op.name == "reshape" and inner.inputs[0].op.name == "expand":
        inner = inner.inputs[0].inputs[0]
    if inner.type.rank == 5 and inner.shape[2] == 1:
        batch, heads, _, keys, dim = inner.shape
        return ops.reshape(inner, shape=(batch, heads, keys, dim))  # type: ignore[no-any-return]
    if x.type.rank != 4:
        raise SmeltError(f"keys or values are {x.type}, want four axes")
    return x
