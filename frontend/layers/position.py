"""Positions: learned tables and rotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smelt.errors import SpecError
from smelt.frontend.config import Config
from smelt.frontend.layers.registry import layer
from smelt.frontend.rope_scaling import rotation
from smelt.ir import ops
from smelt.ir.tensor import Tensor

if TYPE_CHECKING:
    from smelt.frontend.spec.evaluate import Evaluator


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
    """Rotate the first ``width`` channels (default all) of x [batch, heads, seq, dim].

    ``parameters`` is config's rope_parameters (with any scaling), ``theta`` overrides or replaces its
    base; positions default to the input ``position_ids``.
    """
    if positions is None:
        positions = e.scope.input("position_ids")
    if positions is None:
        raise SpecError("rope needs positions, and this task has no input position_ids")
    plain: dict[str, Any] = parameters.plain() if isinstance(parameters, Config) else {}
    if theta is not None:
        plain = {**plain, "rope_theta": theta}
    dim = x.shape[-1] if width is None else width
    if not isinstance(dim, int) or dim % 2:
        raise SpecError(f"rope over {dim} channels, wants an even number")
    length = e.config.get("max_position_embeddings")
    turn = rotation(plain, dim=dim, length=length, positions=positions)
    cos, sin = ops.rope_table(positions, turn.frequencies, scale=turn.scale)
    return ops.rope(x, cos, sin, interleaved=interleaved)  # type: ignore[no-any-return]
