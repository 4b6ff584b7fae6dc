"""Quantized weights on their way into a graph: what they are, and how their codes are repacked."""

from __future__ import annotations

from typing import Any

import numpy as np

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.value import Value
from smelt.ir.materialize import const_array
from smelt.ir.program import toposort
from smelt.ir.tensor import Tensor

Array = np.ndarray[Any, Any]


class Codes:
    """The operands and attributes of an op over quantized weights.

    ``zero`` is the zero of all groups where it is one number, as a symmetric scheme has it.
    """

    def __init__(
        self, g: Graph, codes: Value, scales: Value, zeros: Value, group: int, size: int
    ) -> None:
        self.codes, self.scales, self.zeros = codes, scales, zeros
        self.group, self.size = group, size
        self.zero = _single(zeros)
        self.bits = _bits(g, codes)

    @staticmethod
    def of(g: Graph, weight: Value) -> Codes:
        """Those of a ``dequantize``."""
        assert weight.node is not None
        codes, scales, zeros = weight.operands
        assert codes is not None and scales is not None and zeros is not None
        return Codes(g, codes, scales, zeros, weight.node.attr("group"), weight.node.attr("size"))

    @property
    def width(self) -> int:
        """Columns, padding included."""
        size = self.codes.shape[-1]
        assert isinstance(size, int)
        return size


def are_stored(node: Tensor, first: int = 0) -> bool:
    """Whether a node's codes, scales and zeros, its operands from ``first`` on, are in the file.

    Zeros may be one number instead.
    """
    codes, scales, zeros = node.inputs[first : first + 3]
    is_fixed = zeros.op.name == "const" and zeros.type.rank == 0
    return codes.op.name == scales.op.name == "weight" and (is_fixed or zeros.op.name == "weight")


def _single(zeros: Value) -> int | None:
    node = zeros.node
    if node is None or node.op.name != "const":
        return None
    values = np.unique(const_array(node))
    return int(values[0]) if values.size == 1 else None


def _bits(g: Graph, codes: Value) -> int:
    """What the scheme of the codes says; 8 fits any."""
    if codes.node is None or codes.op != "weight":
        return 8
    expression = g.program.weights[codes.node.attr("name")]
    found = [n.attr("bits") for n in toposort([expression]) if n.op.name == "quantize_weight"]
    return max(found, default=8)


def pack4(codes: Array) -> Array:
    """Two codes of 4 bits a byte, the first in the low half, over all elements row-major."""
    flat = codes.reshape(-1).astype(np.uint8) & 15
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    packed: Array = flat[0::2] | (flat[1::2] << 4)
    return packed
