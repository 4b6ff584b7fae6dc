"""Parameters as a checkpoint holds them, converted where they are used and no further.

The largest tensor of a model is mostly a table of words: of it, a call looks up a few rows, and
the logits are as well computed from a few of its rows after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smelt.backends.torch.rows import torch_dtype
from smelt.ir.types import DType

#: Elements that are converted together, where parts can be.
BLOCK = 1 << 22


@dataclass(frozen=True)
class Stored:
    """A tensor in the checkpoint's dtype, mapped where possible, and the dtype it stands for."""

    tensor: Any
    dtype: DType

    def whole(self) -> Any:
        """All of it, converted."""
        return self.tensor.to(torch_dtype(self.dtype))

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Rows after rows, converted."""
        rows = len(self.tensor)
        step = max(1, BLOCK * rows // max(1, self.tensor.numel()))
        for start in range(0, rows, step):
            at = slice(start, start + step)
            yield at, self.tensor[at].to(torch_dtype(self.dtype))


def run(op: str, row: Callable[..., Any], operands: list[Any], attrs: Mapping[str, Any]) -> Any:
    """A step of which some operands are ``Stored``."""
    import torch

    if op == "gather" and isinstance(operands[0], Stored) and not isinstance(operands[1], Stored):
        return row(operands[0].tensor, operands[1], **attrs).to(torch_dtype(operands[0].dtype))
    rest = [o.whole() if isinstance(o, Stored) and i != 1 else o for i, o in enumerate(operands)]
    weight = operands[1] if len(operands) > 1 else None
    if op == "linear" and isinstance(weight, Stored) and weight.tensor.numel() > BLOCK:
        x, _, bias = rest
        parts = [row(x, w, None if bias is None else bias[at]) for at, w in weight.blocks()]
        return torch.cat(parts, dim=-1)
    return row(*(o.whole() if isinstance(o, Stored) else o for o in rest), **attrs)
