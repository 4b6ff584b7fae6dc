"""Rotary frequencies of every published scaling, from `rope_parameters` in config.json.

Sources: linear (Chen et al. 2023), dynamic NTK (bloc97 2023), yarn (Peng et al. 2023), longrope
(Ding et al. 2024), llama3 (Meta 2024, released with Llama 3.1), proportional (Google, with
Gemma 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smelt.errors import UnsupportedError
from smelt.ir import ops
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType


@dataclass(frozen=True)
class Rotation:
    """Inverse wavelengths of the channel pairs, and the factor on cos and sin."""

    frequencies: Tensor
    scale: float


@dataclass(frozen=True)
class _Request:
    """What a scaling may depend on: parameters, rotated width, trained length, positions."""

    parameters: dict[str, Any]
    dim: int
    length: int | None
    positions: Tensor

    def number(self, key: str, default: float | None = None) -> float:
        value = self.parameters.get(key)
        if value is None and default is None:
            raise UnsupportedError(
                f"rope_parameters of type `{self.parameters.get('rope_type')}` lack `{key}`",
                place="config.json",
            )
        return float(default if value is None else value)  # type: ignore[arg-type]

    @property
    def theta(self) -> float:
        return self.number("rope_theta", 10000.0)

    @property
    def trained(self) -> float:
        """The length before extension, in tokens."""
        return self.number("original_max_position_embeddings", self.length)

    def base(self) -> list[float]:
        return [self.theta ** (-2.0 * i / self.dim) for i in range(self.dim // 2)]


def rotation(
    parameters: dict[str, Any], *, dim: int, length: int | None, positions: Tensor
) -> Rotation:
    """The rotation that ``rope_parameters`` describe for ``dim`` rotated channels.

    ``length`` is ``max_position_embeddings``; ``positions`` [batch, seq] decide at run time for the
    scalings that depend on the length of the text (dynamic, longrope).
    """
    kind = parameters.get("rope_type", parameters.get("type")) or "default"
    if kind not in _SCALINGS:
        known = ", ".join(_SCALINGS)
        raise UnsupportedError(
            f"rope type `{kind}` is not known", place="config.json", hint=f"known: {known}"
        )
    return _SCALINGS[kind](_Request(parameters, dim, length, positions))


def _constant(values: list[float]) -> Tensor:
    return ops.const(value=tuple(values), dtype=DType.F32, shape=(len(values),))  # type: ignore[no-any-return]


def _default(r: _Request) -> Rotation:
    return Rotation(_constant(r.base()), 1.0)


def _linear(r: _Request) -> Rotation:
    factor = r.number("factor")
    return Rotation(_constant([f / factor for f in r.base()]), 1.0)


def _proportional(r: _Request) -> Rotation:
    """The wavelengths of all channels for a share of them; the others stand still."""
    turning = int(r.number("partial_rotary_factor", 1.0) * r.dim // 2)
    factor = r.number("factor", 1.0)
    kept = [f / factor if i < turning else 0.0 for i, f in enumerate(r.base())]
    return Rotation(_constant(kept), 1.0)


def _text_length(r: _Request) -> Tensor:
    """The number of tokens so far, f32 [1, 1]: the newest position plus one."""
    newest = ops.max(r.positions, axes=(0, 1), keepdims=True)
    return ops.cast(newest, dtype=DType.F32) + 1.0  # type: ignore[no-any-return]


def _dynamic(r: _Request) -> Rotation:
    factor, length = r.number("factor"), r.number("max_position_embeddings", r.length)
    grown = ops.maximum(_text_length(r), length)
    stretch = (grown * (factor / length) - (factor - 1.0)) ** (r.dim / (r.dim - 2))
    exponents = _constant([-2.0 * i / r.dim for i in range(r.dim // 2)])
    logarithm = ops.reshape(ops.log(stretch * r.theta), shape=(1,))
    return Rotation(ops.exp(logarithm * exponents), 1.0)


def _yarn(r: _Request) -> Rotation:
    factor = r.number("factor")
    scale = r.parameters.get("attention_factor")
    mscale, all_dim = (r.parameters.get(key) for key in ("mscale", "mscale_all_dim"))
    if scale is None:
        if mscale and all_dim:
            scale = _yarn_scale(factor, mscale) / _yarn_scale(factor, all_dim)
        else:
            scale = _yarn_scale(factor, 1.0)

    def turns_to_pair(turns: float) -> float:
        return r.dim * math.log(r.trained / (turns * 2 * math.pi)) / (2 * math.log(r.theta))

    low = turns_to_pair(r.number("beta_fast", 32.0))
    high = turns_to_pair(r.number("beta_slow", 1.0))
    if r.parameters.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, r.dim - 1)
    high = high + 0.001 if low == high else high
    mixed = []
    for i, frequency in enumerate(r.base()):
        stretched = min(max((i - low) / (high - low), 0.0), 1.0)
        mixed.append(frequency / factor * stretched + frequency * (1.0 - stretched))
    return Rotation(_constant(mixed), float(scale))


def _yarn_scale(factor: float, mscale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def _longrope(r: _Request) -> Rotation:
    factor = r.parameters.get("factor") or (float(r.length or 0) / r.trained)
    scale = r.parameters.get("attention_factor")
    if scale is None:
        scale = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(r.trained))
    short, long = (
        _constant([f / e for f, e in zip(r.base(), _factors(r, key), strict=True)])
        for key in ("short_factor", "long_factor")
    )
    is_short = ops.reshape(ops.less_equal(_text_length(r), r.trained), shape=(1,))
    return Rotation(ops.where(is_short, short, long), float(scale))


def _factors(r: _Request, key: str) -> list[float]:
    values = r.parameters.get(key)
    if not isinstance(values, (list, tuple)) or len(values) != r.dim // 2:
        count = len(values) if isinstance(values, (list, tuple)) else values
        raise UnsupportedError(
            f"rope_parameters: {key} has {count} factors, wants {r.dim // 2}", place="config.json"
        )
    return [float(v) for v in values]


def _llama3(r: _Request) -> Rotation:
    factor, low, high = (r.number(k) for k in ("factor", "low_freq_factor", "high_freq_factor"))
    mixed = []
    for frequency in r.base():
        turns = r.trained * frequency / (2 * math.pi)
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        mixed.append(frequency * (smooth + (1.0 - smooth) / factor))
    return Rotation(_constant(mixed), 1.0)


_SCALINGS: dict[str, Callable[[_Request], Rotation]] = {
    "default": _default,
    "linear": _linear,
    "proportional": _proportional,
    "dynamic": _dynamic,
    "yarn": _yarn,
    "longrope": _longrope,
    "su": _longrope,
    "llama3": _llama3,
}
