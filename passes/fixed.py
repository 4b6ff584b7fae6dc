"""Which nodes can be computed before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from smelt.ir.dims import Dim
from smelt.ir.program import toposort
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType

LEAVES = frozenset({"param", "const", "weight"})


def fixed_nodes(roots: Iterable[Tensor]) -> dict[int, bool]:
    """For each node by id: does it depend on parameters and numbers alone, and on some parameter?

    Quantized codes and rounded weights are fixed; what is computed from them is not, since to
    restore floats beforehand would undo the quantization.
    """
    alone: dict[int, bool] = {}
    has_param: dict[int, bool] = {}
    for node in toposort(roots):
        is_leaf = node.op.name in LEAVES
        inputs = node.inputs
        alone[id(node)] = is_leaf or (
            bool(inputs)
            and all(alone[id(t)] and not is_code(t) for t in inputs)
            and not is_symbolic([value for _, value in node.attrs])
        )
        has_param[id(node)] = node.op.name in ("param", "weight") or any(
            has_param[id(t)] for t in inputs
        )
    return {key: alone[key] and has_param[key] for key in alone}


def is_symbolic(value: Any) -> bool:
    """Does this attribute hold a size that is known only at run time?"""
    if isinstance(value, (tuple, list)):
        return any(is_symbolic(part) for part in value)
    return isinstance(value, Dim)


def is_code(node: Tensor) -> bool:
    """Is this the codes, scales or zeros of a quantized weight, or a weight that is stored as bf16,
    as an expression or as a leaf?"""
    if node.op.name == "item":
        return node.inputs[0].op.name == "quantize_weight"
    if is_stored_bf16(node):
        return True
    # A derived weight's name ends in what it is; see `lift_weights`.
    return node.op.name == "weight" and node.attr("name").split(".")[-1] in CODE_NAMES


def is_stored_bf16(node: Tensor) -> bool:
    """Is this f32 rounded to bf16, as an expression or as the leaf that it became?"""
    if node.op.name == "weight":
        return node.dtype is DType.BF16 and node.attr("name").endswith(".cast")
    return node.op.name == "cast" and node.dtype is DType.BF16 and node.inputs[0].dtype is DType.F32


#: What `quantize_weight` gives, in order.
CODE_NAMES = ("codes", "scales", "zeros")
