"""Layers with a matrix or a kernel: linear, embedding, convolutions, and bare parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smelt.errors import SpecError
from smelt.frontend.layers.registry import layer
from smelt.ir import ops
from smelt.ir.dims import Size
from smelt.ir.tensor import Tensor

if TYPE_CHECKING:
    from smelt.frontend.spec.evaluate import Evaluator


@layer
def linear(
    e: Evaluator,
    x: Tensor,
    weight: Tensor | None = None,
    *,
    out: int | None = None,
    bias: bool | Tensor = False,
    transposed: bool = False,
) -> Tensor:
    """x [..., in] times ``weight`` [out, in] transposed, plus ``bias`` [out].

    Without a weight it is the parameter ``weight`` here; ``transposed`` says that the checkpoint
    stores it [in, out]. Inside an expert each expert has its own.
    """
    width = x.shape[-1]
    if weight is not None:
        if weight.type.rank != 2:
            raise SpecError(f"weight is {weight.type}, wants [out, in]")
        out = weight.shape[0] if out is None else out  # type: ignore[assignment]
    if out is None:
        raise SpecError("linear needs out= (its number of output channels)")
    lead: tuple[Size, ...] = () if e.scope.experts is None else (e.scope.experts[1],)
    if weight is None:
        if transposed:
            stored = e.scope.param("weight", (*lead, width, out))
            axes = (0, 2, 1) if lead else (1, 0)
            weight = ops.permute(stored, axes=axes)
        else:
            weight = e.scope.param("weight", (*lead, out, width))
    offset = e.scope.param("bias", (*lead, out)) if bias is True else bias or None
    if e.scope.experts is None:
        return ops.linear(x, weight, offset)  # type: ignore[no-any-return]
    return ops.grouped_linear(x, weight, e.scope.experts[0], offset)  # type: ignore[no-any-return]


@layer
def embedding(e: Evaluator, ids: Tensor, *, rows: int, dim: int) -> Tensor:
    """Row ``ids`` of the parameter ``weight`` [rows, dim]."""
    return ops.gather(e.scope.param("weight", (rows, dim)), ids, axis=0)  # type: ignore[no-any-return]


@layer
def param(e: Evaluator, name: str, shape: tuple[int, ...]) -> Tensor:
    """The bare parameter ``name`` here; an empty name is the path itself."""
    if name:
        return e.scope.param(name, shape)
    head, _, tail = e.scope.path.rpartition(".")
    before, e.scope.path = e.scope.path, head
    try:
        return e.scope.param(tail, shape)
    finally:
        e.scope.path = before


@layer
def conv1d(
    e: Evaluator,
    x: Tensor,
    *,
    out: int,
    kernel: int,
    stride: int = 1,
    pad: int | tuple[int, int] = 0,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = True,
) -> Tensor:
    """Convolve x [batch, in, length] with ``weight`` [out, in/groups, kernel]; pad may be (before,
    after).
    """
    weight = e.scope.param("weight", (out, _per_group(x, groups), kernel))
    return ops.conv(  # type: ignore[no-any-return]
        x,
        weight,
        e.scope.param("bias", (out,)) if bias else None,
        stride=(stride,),
        padding=(pad, pad) if isinstance(pad, int) else pad,
        dilation=(dilation,),
        groups=groups,
    )


@layer
def conv2d(
    e: Evaluator,
    x: Tensor,
    *,
    out: int,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int] = 1,
    pad: int | tuple[int, int] = 0,
    groups: int = 1,
    bias: bool = True,
) -> Tensor:
    """Convolve x [batch, in, height, width] with ``weight`` [out, in/groups, *kernel]."""
    kernel, stride, pad = ((v, v) if isinstance(v, int) else v for v in (kernel, stride, pad))
    weight = e.scope.param("weight", (out, _per_group(x, groups), *kernel))
    return ops.conv(  # type: ignore[no-any-return]
        x,
        weight,
        e.scope.param("bias", (out,)) if bias else None,
        stride=stride,
        padding=(pad[0], pad[0], pad[1], pad[1]),
        dilation=(1, 1),
        groups=groups,
    )


def _per_group(x: Tensor, groups: int) -> int:
    channels = x.shape[1]
    if not isinstance(channels, int) or channels % groups:
        raise SpecError(f"{channels} input channels do not divide into {groups} groups")
    return channels // groups
