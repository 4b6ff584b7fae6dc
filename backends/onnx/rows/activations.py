"""Activation functions that ONNX has an op for."""

from __future__ import annotations

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Rows, direct, in_f32
from smelt.backends.onnx.value import Value


def _silu(g: Graph, x: Value) -> Value:
    return g.op("Mul", x, g.op("Sigmoid", x))


def _clamp(g: Graph, x: Value, low: float, high: float) -> Value:
    return g.op("Clip", x, g.number(low, x.dtype), g.number(high, x.dtype))


ROWS: Rows = {
    "softmax": in_f32("Softmax", axis=-1),
    "relu": direct("Relu"),
    "silu": _silu,
    "gelu": direct("Gelu"),
    "gelu_tanh": direct("Gelu", approximate="tanh"),
    "softplus": direct("Softplus"),
    "clamp": _clamp,
}
