"""Positions: learned tables and rotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smelt.errors import SpecError
from smelt.frontend.config import Config
from smelt.frontend.layers.registry import layer
from smelt.frontend.rope_scaling import rotation
from smelt.ir import ops
from smelt.ir.dims import Size, symbol
from smelt.ir.tensor import Tensor

if TYPE_CHECKING:
    from smelt.frontend.spec.evaluate import Evaluator


@layer
def position_ids(e: Evaluator, count: Size) -> Tensor:
    """The positions of ``count`` new tokens, i64 [batch | 1, count]: the input, or counted where there is none."""
    given = e.scope.input("position_ids")
    if given is not None:
        return given
    past = symbol("past") if e.scope.continues else 0
    return ops.reshape(ops.arange(past + count, start=past), shape=(1, count))  # type: ignore[no-any-return]


@layer
def rope(
    e: Evaluator,
    x: Tensor,
    *,
    positions: Tensor | None = None,
    parameters: Config | None = None,
    theta: float | None = None,
    width: int | None = None,
    interleaved: bool = False,
) -> Tensor:
    """Rotate the first ``width`` channels of x [batch, heads, seq, dim].

    ``parameters`` is config's rope_parameters (with any scaling), ``theta`` the base that holds when they
    give none. Positions default to the task's own; the width to the parameters' share of all channels.
    """
    plain: dict[str, Any] = parameters.plain() if isinstance(parameters, Config) else {}
    if theta is not None and plain.get("rope_theta") is None:
        plain = {**plain, "rope_theta": theta}
    dim = x.shape[-1] if width is None else width
    if width is None and isinstance(dim, int):
        dim = int(dim * float(plain.get("partial_rotary_factor") or 1.0))
    if not isinstance(dim, int) or dim % 2 or dim < 2:
        raise SpecError(f"rope over {dim} channels, wants an even number")
    positions = positions if positions is not None else position_ids(e, x.shape[2])
    length = e.config.get("max_position_embeddings")
    turn = rotation(plain, dim=dim, length=length, positions=positions)
    cos, sin = ops.rope_table(positions, turn.frequencies, scale=turn.scale)
    return ops.rope(x, cos, sin, interleaved=interleaved)  # type: ignore[no-any-return]
