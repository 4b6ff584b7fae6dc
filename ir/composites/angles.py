"""Angles from their cosines."""

from __future__ import annotations

from math import pi

from smelt.ir.op import composite
from smelt.ir.primitives.elementwise import abs as magnitude
from smelt.ir.primitives.elementwise import less, minimum, sqrt, where
from smelt.ir.tensor import Tensor

#: acos(x) / sqrt(1 - x) from 0 to 1, by powers of x; off by 2e-8 at most. Source: Abramowitz and
#: Stegun 1964, 4.4.46.
_POWERS = (
    *(1.5707963050, -0.2145988016, 0.0889789874, -0.0501743046),
    *(0.0308918810, -0.0170881256, 0.0066700901, -0.0012624911),
)


@composite
def acos(x: Tensor) -> Tensor:
    """The angle in radians whose cosine is x; beyond ±1 that of ±1."""
    size = minimum(magnitude(x), 1.0)
    y = size * _POWERS[-1] + _POWERS[-2]
    for power in _POWERS[-3::-1]:
        y = y * size + power
    angle = y * sqrt(1.0 - size)
    return where(less(x, 0.0), pi - angle, angle)
