"""Elementwise primitives: arithmetic, comparison, logic, casts. Operands broadcast, dtypes must
agree.
"""

from __future__ import annotations

from smelt.errors import SmeltError
from smelt.ir.op import primitive
from smelt.ir.primitives.rules import broadcast, is_float, same_dtype
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type


def _arithmetic(a: Tensor, b: Tensor) -> Type:
    return Type(broadcast(a.shape, b.shape), same_dtype(a, b))


def _compare(a: Tensor, b: Tensor) -> Type:
    same_dtype(a, b)
    return Type(broadcast(a.shape, b.shape), DType.BOOL)


def _logic(*operands: Tensor) -> Type:
    if same_dtype(*operands) is not DType.BOOL:
        raise SmeltError(f"operand is {operands[0].dtype.value}, wants bool")
    return Type(broadcast(*(t.shape for t in operands)), DType.BOOL)


def _float_unary(x: Tensor) -> Type:
    is_float(x)
    return x.type


@primitive
def add(a: Tensor, b: Tensor) -> Type:
    """a + b."""
    return _arithmetic(a, b)


@primitive
def sub(a: Tensor, b: Tensor) -> Type:
    """a - b."""
    return _arithmetic(a, b)


@primitive
def mul(a: Tensor, b: Tensor) -> Type:
    """a · b."""
    return _arithmetic(a, b)


@primitive
def div(a: Tensor, b: Tensor) -> Type:
    """a / b; integers divide rounding down."""
    return _arithmetic(a, b)


@primitive
def mod(a: Tensor, b: Tensor) -> Type:
    """The remainder of a / b with the sign of b."""
    return _arithmetic(a, b)


@primitive
def pow(a: Tensor, b: Tensor) -> Type:
    """a to the power b."""
    return _arithmetic(a, b)


@primitive
def maximum(a: Tensor, b: Tensor) -> Type:
    """The larger of a and b."""
    return _arithmetic(a, b)


@primitive
def minimum(a: Tensor, b: Tensor) -> Type:
    """The smaller of a and b."""
    return _arithmetic(a, b)


@primitive
def neg(x: Tensor) -> Type:
    """-x."""
    return x.type


@primitive
def abs(x: Tensor) -> Type:
    """The magnitude of x."""
    return x.type


@primitive
def sign(x: Tensor) -> Type:
    """-1, 0 or 1."""
    return x.type


@primitive
def floor(x: Tensor) -> Type:
    """The largest whole number not above x."""
    return _float_unary(x)


@primitive
def round(x: Tensor) -> Type:
    """The nearest whole number, halves to even."""
    return _float_unary(x)


@primitive
def sqrt(x: Tensor) -> Type:
    """The square root."""
    return _float_unary(x)


@primitive
def rsqrt(x: Tensor) -> Type:
    """1 / sqrt(x)."""
    return _float_unary(x)


@primitive
def exp(x: Tensor) -> Type:
    """e to the power x."""
    return _float_unary(x)


@primitive
def log(x: Tensor) -> Type:
    """The natural logarithm."""
    return _float_unary(x)


@primitive
def sin(x: Tensor) -> Type:
    """The sine of x in radians."""
    return _float_unary(x)


@primitive
def cos(x: Tensor) -> Type:
    """The cosine of x in radians."""
    return _float_unary(x)


@primitive
def tanh(x: Tensor) -> Type:
    """The hyperbolic tangent."""
    return _float_unary(x)


@primitive
def erf(x: Tensor) -> Type:
    """The error function."""
    return _float_unary(x)


@primitive
def sigmoid(x: Tensor) -> Type:
    """1 / (1 + exp(-x))."""
    return _float_unary(x)


@primitive
def equal(a: Tensor, b: Tensor) -> Type:
    """a == b."""
    return _compare(a, b)


@primitive
def less(a: Tensor, b: Tensor) -> Type:
    """a < b."""
    return _compare(a, b)


@primitive
def less_equal(a: Tensor, b: Tensor) -> Type:
    """a <= b."""
    return _compare(a, b)


@primitive
def logical_and(a: Tensor, b: Tensor) -> Type:
    """a and b."""
    return _logic(a, b)


@primitive
def logical_or(a: Tensor, b: Tensor) -> Type:
    """a or b."""
    return _logic(a, b)


@primitive
def logical_not(x: Tensor) -> Type:
    """not x."""
    return _logic(x)


@primitive
def where(condition: Tensor, a: Tensor, b: Tensor) -> Type:
    """a where the condition holds, else b."""
    _logic(condition)
    return Type(broadcast(condition.shape, a.shape, b.shape), same_dtype(a, b))


@primitive
def cast(x: Tensor, dtype: DType) -> Type:
    """x in another element type: float to integer drops the fraction, to bool is ``x != 0``."""
    return Type(x.shape, dtype)
