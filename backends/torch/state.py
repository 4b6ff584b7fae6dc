"""State of a torch model between calls: KV caches and recurrent values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from smelt.backends.torch.rows import torch_dtype
from smelt.errors import ArtifactError
from smelt.ir.dims import evaluate
from smelt.ir.program import Program, Slot
from smelt.ir.types import DType

if TYPE_CHECKING:
    from torch import Tensor


#: Tokens that a buffer has room for at first.
FIRST = 256


class State:
    """The slots of one sequence batch.

    With a ``capacity`` (tokens), append slots are written in place into buffers that double up to
    that
    size; without one they grow by concatenation, which autograd follows.
    """

    def __init__(self, program: Program, capacity: int | None = None) -> None:
        self._slots = program.slots
        self._capacity = capacity
        self._values: dict[str, Tensor] = {}
        self.past = 0

    def reset(self) -> None:
        """Forget everything."""
        self._values.clear()
        self.past = 0

    def append(self, slot: Slot, x: Tensor) -> Tensor:
        """x [.., new, ..] after what the slot holds; gives all, oldest first."""
        import torch

        # int8 entries are rounded in the graph (see `plan_kv`); here they stay in the type they
        # had.
        kept = x if slot.dtype is DType.I8 else x.to(torch_dtype(slot.dtype))
        if self._capacity is None:
            old = self._values.get(slot.name)
            whole = kept if old is None else torch.cat([old, kept], slot.axis)
            self._values[slot.name] = whole
            return whole.to(x.dtype)
        end = self.past + x.shape[slot.axis]
        if end > self._capacity:
            raise ArtifactError(
                f"{end} tokens do not fit a context of {self._capacity}",
                hint="open the artifact with a larger context",
            )
        buffer = self._room(slot, kept, end)
        buffer.narrow(slot.axis, self.past, x.shape[slot.axis]).copy_(kept)
        return buffer.narrow(slot.axis, 0, end).to(x.dtype)

    def _room(self, slot: Slot, new: Tensor, end: int) -> Tensor:
        """The slot's buffer with room for ``end`` tokens."""
        old = self._values.get(slot.name)
        held = 0 if old is None else old.shape[slot.axis]
        if old is not None and end <= held:
            return old
        assert self._capacity is not None
        shape = list(new.shape)
        shape[slot.axis] = min(self._capacity, max(end, 2 * held, FIRST))
        buffer = new.new_zeros(shape)
        if old is not None:
            buffer.narrow(slot.axis, 0, self.past).copy_(old.narrow(slot.axis, 0, self.past))
        self._values[slot.name] = buffer
        return buffer

    def read(self, slot: Slot, symbols: Mapping[str, int], device: Any) -> Tensor:
        """What a replaced slot holds; zeros at first."""
        import torch

        if slot.name not in self._values:
            shape = [evaluate(size, symbols) for size in slot.type.shape]
            return torch.zeros(shape, dtype=torch_dtype(slot.type.dtype), device=device)
        return self._values[slot.name]

    def write(self, slot: str, x: Tensor) -> None:
        """Replace what a slot holds."""
        self._values[slot] = x

    def advance(self, count: int) -> None:
        """Count the tokens of a finished call."""
        self.past += count

    def shape(self, slot: str) -> tuple[int, ...] | None:
        """The shape of what a slot holds, or None while it is empty."""
        return tuple(self._values[slot].shape) if slot in self._values else None

    def tensors(self) -> dict[str, Tensor]:
        """Every slot that holds something: append slots as [.., past, ..], oldest first."""
        found = {}
        for name, value in self._values.items():
            slot = self._slots[name]
            is_static = slot.kind == "append" and self._capacity is not None
            found[name] = value.narrow(slot.axis, 0, self.past) if is_static else value
        return found

    def rewind(self, past: int) -> None:
        """Drop the newest tokens, so that ``past`` remain."""
        replaced = [
            s.name for s in self._slots.values() if s.kind == "replace" and s.name in self._values
        ]
        if replaced:
            raise ArtifactError(
                f"state `{replaced[0]}` cannot go back in time", hint="reset and run again"
            )
        if not 0 <= past <= self.past:
            raise ArtifactError(f"cannot go back to {past} tokens of {self.past}")
        if self._capacity is None:
            for name, value in self._values.items():
                self._values[name] = value.narrow(self._slots[name].axis, 0, past)
        self.past = past

    def reorder(self, rows: Tensor) -> None:
        """Make batch row i what row ``rows[i]`` was."""
        self._values = {name: value[rows] for name, value in self._values.items()}

    def bytes(self) -> int:
        """Bytes held now."""
        return sum(v.numel() * v.element_size() for v in self._values.values())
