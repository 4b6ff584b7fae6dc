"""Hidden states as outputs of a language model, for ways to generate that look at them.

``last`` adds ``hidden`` [batch, seq, dim]: what the product with the vocabulary reads. ``all`` adds
``layers`` [batch, seq, layers * dim] too, what each block reads, one after the other, and a
function ``head`` that gives the logits of any such states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from smelt.errors import UnsupportedError
from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.program import Function, Program
from smelt.ir.rewrite import rebuild
from smelt.ir.tensor import Tensor
from smelt.ir.types import Type

KINDS = ("last", "all")

#: What may stand between the product with the vocabulary and the logits.
_AFTER = frozenset(("add", "sub", "mul", "div", "tanh", "softcap", "cast", "clamp"))
_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")


@dataclass(frozen=True)
class Blocks:
    """What the blocks of a function read, in order, and what the last one gives."""

    states: tuple[Tensor, ...] = ()
    last: Tensor | None = None


def add_hidden(
    functions: Mapping[str, Function], blocks: Blocks, kind: str, config: Mapping[str, Any]
) -> dict[str, Function]:
    """The functions of a language model, with hidden states; UnsupportedError where they are not
    what everybody means by them.
    """
    if kind not in KINDS:
        raise UnsupportedError(f"hidden states are `{kind}`, want one of {', '.join(KINDS)}")
    name = next((n for n, f in functions.items() if "logits" in dict(f.outputs)), None)
    if name is None or not any(n.op.name in ("cache", "read") for n in functions[name].nodes()):
        raise UnsupportedError("hidden states are outputs of models that generate, this one is not")
    function = functions[name]
    product = _product(dict(function.outputs)["logits"])
    last = _read(product)
    _check_between(last, blocks)
    outputs = (*function.outputs, ("hidden", last))
    found = dict(functions)
    if kind == "all":
        if name != "main":
            raise UnsupportedError(
                "the states of all layers are outputs of decoders alone", hint="hidden='last'"
            )
        _check_layers(function, blocks, config)
        outputs = (*outputs, ("layers", ops.concat(*blocks.states, axis=-1)))
        found["head"] = _head(product, last)
    found[name] = replace(function, outputs=outputs)
    return found


def layers_of(program: Program) -> tuple[int, bool] | None:
    """How many layers have their states among the outputs, and whether the head shares the table of
    the embedding; None without hidden states.
    """
    for function in program.functions.values():
        outputs = dict(function.outputs)
        if "hidden" not in outputs:
            continue
        width, own = outputs["hidden"].shape[-1], outputs.get("layers")
        count = int(str(own.shape[-1])) // int(str(width)) if own is not None else 0
        table = _product(outputs["logits"]).operands[1]
        tied = any(n.op.name == "gather" and table in n.inputs for n in function.nodes())
        return count, tied
    return None


def _product(logits: Tensor) -> Tensor:
    """The linear that gives the logits, up to light work behind it."""
    node = logits
    while node.op.name != "linear":
        rows = [t for t in node.inputs if t.type.rank == 3 and t.shape[:2] == logits.shape[:2]]
        if node.op.name not in _AFTER or len(rows) != 1:
            raise UnsupportedError(
                f"hidden states: the logits come from `{node.op.name}`, not from a linear"
            )
        node = rows[0]
    return node


def _read(product: Tensor) -> Tensor:
    read = product.operands[0]
    assert read is not None
    return read


def _check_between(last: Tensor, blocks: Blocks) -> None:
    """UnsupportedError where the head works on the last block's result with weights of its own."""
    seen: set[Tensor] = set()
    stack = [last]
    while stack:
        node = stack.pop()
        if node is blocks.last or node in seen:
            continue
        seen.add(node)
        if node.op.name == "slice":
            raise UnsupportedError("hidden states: the head reads a part of what the blocks give")
        if node.op.name in ("linear", "input"):
            raise UnsupportedError(
                "hidden states: the head has layers of its own before the vocabulary"
                if blocks.last is not None
                else "hidden states: the spec does not repeat its blocks"
            )
        stack.extend(node.inputs)


def _check_layers(function: Function, blocks: Blocks, config: Mapping[str, Any]) -> None:
    count = next((config[key] for key in _COUNTS if isinstance(config.get(key), int)), None)
    shape = function.outputs[0][1].shape[:2]
    nodes = set(function.nodes())
    fits = all(s in nodes and s.type.rank == 3 and s.shape[:2] == shape for s in blocks.states)
    if not fits or len(blocks.states) != count:
        raise UnsupportedError(
            f"hidden states: the spec repeats {len(blocks.states)} blocks, config.json has "
            f"{count} layers"
        )


def _head(product: Tensor, last: Tensor) -> Function:
    """The product with the vocabulary alone: states [batch, seq, dim] to logits."""
    shape = (symbol("batch"), symbol("seq"), last.shape[-1])
    hidden = ops.input(name="hidden", type=Type(shape, last.dtype))
    logits = rebuild(product, (hidden, *product.operands[1:]))
    return Function("head", (hidden,), (("logits", logits),))


def recorded(states: Sequence[object], last: object) -> Blocks:
    """What ``repeat`` saw, if all of it is tensors."""
    if not all(isinstance(state, Tensor) for state in (*states, last)):
        return Blocks()
    return Blocks(tuple(s for s in states if isinstance(s, Tensor)), last)  # type: ignore[arg-type]
