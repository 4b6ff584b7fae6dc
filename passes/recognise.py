"""Find composites that a graph spells out, and say them by name.

A match is proven, not guessed: a recogniser reads off operands and attributes, the composite's
meaning is built from them and folded, and it must be the very node (nodes are interned) up to the
order of commuting operands. So a recogniser may be careless, and a wrong constant can never match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from smelt.errors import SmeltError
from smelt.ir import ops
from smelt.ir.op import OPS
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType
from smelt.passes.fold import FOLD
from smelt.passes.match import Rules
from smelt.passes.receipt import recording, why
from smelt.passes.recognise_attention import guess_attention, plain_attention

#: Operands and attributes that a composite may have been called with.
Call: TypeAlias = tuple[tuple[Tensor | None, ...], dict[str, Any]]

_COMMUTES = frozenset(("add", "mul", "maximum", "minimum", "logical_and", "logical_or", "equal"))

#: What norms and activations are spelled with.
_LIGHT = frozenset(
    (
        *("add", "sub", "mul", "div", "neg", "abs", "maximum", "exp", "log", "sigmoid", "tanh"),
        *("erf", "rsqrt", "mean", "sum", "max", "cast"),
    )
)

SPELLED = Rules()


def recognise(program: Program) -> Program:
    """The program with spelled-out activations, norms and attention as composites."""
    return (FOLD + SPELLED)(program)


def _rule(
    name: str, *roots: str, forms: tuple[Callable[..., Any], ...] = ()
) -> Callable[[Callable[[Tensor], Iterator[Call]]], None]:
    """Add a rule: the decorated function guesses calls of composite ``name`` that give a node."""

    def add(guess: Callable[[Tensor], Iterator[Call]]) -> None:
        def rule(node: Tensor) -> Tensor | None:
            is_near = False
            for operands, attrs in guess(node):
                is_near = True
                for form in (OPS[name].body, *forms):
                    if _alike(_spelled(form, operands, attrs), node):
                        return OPS[name].node(operands, OPS[name].bind(operands, attrs)[1])
            return why(node, f"looks like {name} and is not what {name} means") if is_near else None

        rule.__name__ = f"fuse_{name}"
        SPELLED.on(*roots)(rule)

    return add


def _spelled(
    form: Callable[..., Any], operands: tuple[Tensor | None, ...], attrs: dict[str, Any]
) -> Tensor | None:
    """The meaning of a call, folded; None where the call is not even well typed."""
    try:
        with recording():  # folding a trial is no news
            (spelled,) = FOLD.simplify((form(*operands, **attrs),))
    except SmeltError:
        return None
    return spelled


def _alike(a: Tensor | None, b: Tensor | None) -> bool:
    """Is it the same computation, up to the order of operands that commute?"""
    if a is b:
        return True
    if a is None or b is None or a.op is not b.op or a.attrs != b.attrs or a.result != b.result:
        return False
    pairs = [tuple(zip(a.operands, b.operands, strict=False))]
    if len(a.operands) != len(b.operands):
        return False
    if a.op.name in _COMMUTES:
        pairs.append(tuple(zip(a.operands, b.operands[::-1], strict=True)))
    return bool(a.operands) and any(all(_alike(x, y) for x, y in pair) for pair in pairs)


def _near(root: Tensor, name: str, depth: int = 4) -> Iterator[Tensor]:
    """Nodes of an op at most so many steps below a root."""
    level = [root]
    for _ in range(depth):
        level = [t for node in level if node.op.name in _LIGHT for t in node.inputs]
        level = list({id(t): t for t in level}.values())
        yield from (t for t in level if t.op.name == name)


def _number(x: Tensor) -> float | None:
    value = x.attr("value") if x.op.name == "const" else None
    return value if isinstance(value, (int, float)) else None


def _narrow(x: Tensor) -> Tensor:
    """What a cast to f32 was made of."""
    return x.inputs[0] if x.op.name == "cast" and x.dtype is DType.F32 else x


@_rule("softmax", "div", "cast")
def _(node: Tensor) -> Iterator[Call]:
    for grown in _near(node, "exp", 2):
        (shifted,) = grown.inputs
        if shifted.op.name == "sub":
            yield (_narrow(shifted.inputs[0]),), {}


@_rule("silu", "mul")
def _(node: Tensor) -> Iterator[Call]:
    for gate in _near(node, "sigmoid", 1):
        if gate.inputs[0] in node.inputs:
            yield (gate.inputs[0],), {}


@_rule("gelu_sigmoid", "mul")
def _(node: Tensor) -> Iterator[Call]:
    for gate in _near(node, "sigmoid", 1):
        scaled = gate.inputs[0]
        if scaled.op.name == "mul":
            yield from (((x,), {}) for x in scaled.inputs if x in node.inputs)


@_rule("gelu", "mul")
def _(node: Tensor) -> Iterator[Call]:
    for erf in _near(node, "erf", 2):
        if erf.inputs[0].op.name == "mul":
            yield (erf.inputs[0].inputs[0],), {}


@_rule("gelu_tanh", "mul")
def _(node: Tensor) -> Iterator[Call]:
    for tanh in _near(node, "tanh", 2):
        for inner in _near(tanh, "add", 2):
            yield (inner.inputs[0],), {}


@_rule("softplus", "add")
def _(node: Tensor) -> Iterator[Call]:
    for size in _near(node, "abs", 5):
        yield (size.inputs[0],), {}


@_rule("softcap", "mul")
def _(node: Tensor) -> Iterator[Call]:
    limit = _number(node.inputs[1])
    for tanh in _near(node, "tanh", 1):
        if limit is not None and tanh.inputs[0].op.name == "div":
            yield (tanh.inputs[0].inputs[0],), {"limit": limit}


def _scaled_rms(x: Tensor, weight: Tensor | None, eps: float, offset: float = 0.0) -> Tensor:
    """The norm after its inner part was found: that, times the weight."""
    if weight is None:
        raise SmeltError("nothing to scale by")
    factor = ops.cast(weight, dtype=DType.F32) + offset if offset else weight
    return ops.rms_norm(x, eps=eps) * factor  # type: ignore[no-any-return]


def _scaled_layer(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """The norm after its inner part was found: that, times the weight or plus the bias."""
    if bias is not None:
        return ops.layer_norm(x, weight, eps=eps) + bias  # type: ignore[no-any-return]
    if weight is None:
        raise SmeltError("nothing to scale by")
    return ops.layer_norm(x, eps=eps) * weight  # type: ignore[no-any-return]


@_rule("rms_norm", "mul", "cast", forms=(_scaled_rms,))
def _(node: Tensor) -> Iterator[Call]:
    for x, eps, is_centred in _normalized(node):
        if not is_centred:
            yield (x, None), {"eps": eps}
    for x, eps, weight in _scaled(node, "rms_norm"):
        offset = _number(weight.inputs[1]) if weight.op.name == "add" else None
        if offset is not None:
            yield (x, _narrow(weight.inputs[0])), {"eps": eps, "offset": offset}
        yield (x, weight), {"eps": eps}


@_rule("layer_norm", "add", "mul", "cast", forms=(_scaled_layer,))
def _(node: Tensor) -> Iterator[Call]:
    for x, eps, is_centred in _normalized(node):
        if is_centred:
            yield (x, None, None), {"eps": eps}
    for x, eps, other in _scaled(node, "layer_norm"):
        if node.op.name == "mul":
            yield (x, other, None), {"eps": eps}
            continue
        inner = next(t for t in node.inputs if t.op.name == "layer_norm")
        yield (x, inner.operands[1], other), {"eps": eps}


def _scaled(node: Tensor, name: str) -> Iterator[tuple[Tensor, float, Tensor]]:
    """x and eps of a norm that is an operand, and the other operand, a vector of its width."""
    for i, inner in enumerate(node.inputs):
        if inner.op.name != name or inner.operands[-1] is not None or len(node.inputs) != 2:
            continue
        x, other = inner.inputs[0], node.inputs[1 - i]
        if other.shape == x.shape[-1:]:
            yield x, inner.attr("eps"), other


def _normalized(node: Tensor) -> Iterator[tuple[Tensor, float, bool]]:
    """x and eps of every x · rsqrt(mean(x · x) + eps) near, and whether x was centred."""
    for root in _near(node, "rsqrt", 4):
        (total,) = root.inputs
        eps = _number(total.inputs[1]) if total.op.name == "add" else None
        if eps is None or total.inputs[0].op.name != "mean":
            continue
        square = total.inputs[0].inputs[0]
        if square.op.name != "mul" or square.inputs[0] is not square.inputs[1]:
            continue
        x = square.inputs[0]
        is_centred = x.op.name == "sub" and x.inputs[1].op.name == "mean"
        yield _narrow(x.inputs[0] if is_centred else x), eps, is_centred


_rule("attention", "reshape", "matmul", forms=plain_attention)(guess_attention)
