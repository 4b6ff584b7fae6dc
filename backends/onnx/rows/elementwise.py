"""Arithmetic, comparison, logic and casts."""

from __future__ import annotations

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Rows, direct
from smelt.backends.onnx.value import Value
from smelt.ir.types import DType


def _div(g: Graph, a: Value, b: Value) -> Value:
    if a.dtype.is_float:
        return g.op("Div", a, b)
    # ONNX divides integers towards zero; taking the remainder off first makes it exact.
    return g.op("Div", g.op("Sub", a, g.op("Mod", a, b)), b)


def _mod(g: Graph, a: Value, b: Value) -> Value:
    if not a.dtype.is_float:
        return g.op("Mod", a, b)
    # For floats ONNX has C's remainder, whose sign is that of a.
    rest = g.op("Mod", a, b, fmod=1)
    wrong = g.op("Less", g.op("Mul", rest, b), g.number(0, a.dtype))
    return g.op("Where", wrong, g.op("Add", rest, b), rest)


def _rsqrt(g: Graph, x: Value) -> Value:
    return g.op("Reciprocal", g.op("Sqrt", x))


def _cast(g: Graph, x: Value, dtype: DType) -> Value:
    return x if x.dtype is dtype else g.cast(x, dtype)


ROWS: Rows = {
    "add": direct("Add"),
    "sub": direct("Sub"),
    "mul": direct("Mul"),
    "div": _div,
    "mod": _mod,
    "pow": direct("Pow"),
    "maximum": direct("Max"),
    "minimum": direct("Min"),
    "neg": direct("Neg"),
    "abs": direct("Abs"),
    "sign": direct("Sign"),
    "floor": direct("Floor"),
    "round": direct("Round"),
    "sqrt": direct("Sqrt"),
    "rsqrt": _rsqrt,
    "exp": direct("Exp"),
    "log": direct("Log"),
    "sin": direct("Sin"),
    "cos": direct("Cos"),
    "tanh": direct("Tanh"),
    "erf": direct("Erf"),
    "sigmoid": direct("Sigmoid"),
    "equal": direct("Equal"),
    "less": direct("Less"),
    "less_equal": direct("LessOrEqual"),
    "logical_and": direct("And"),
    "logical_or": direct("Or"),
    "logical_not": direct("Not"),
    "where": direct("Where"),
    "cast": _cast,
}
