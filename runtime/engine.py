"""What every engine offers: one opened artifact that computes functions and keeps state.

Goal: the smallest surface on which generation, embedding and verification can be written once.
Non-goals: text, sampling, batching of requests; those sit on top, in ``session.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from smelt.runtime.manifest import Manifest

Array = NDArray[Any]


@runtime_checkable
class Engine(Protocol):
    """One opened artifact on one engine; not thread-safe, one state a time."""

    manifest: Manifest

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a function on all of its inputs; reads and updates the state it names."""
        ...

    def reset(self) -> None:
        """Forget all state; the next call may have another batch size."""
        ...

    @property
    def past(self) -> int:
        """Tokens held in the append slots, 0 after ``reset`` and for models without any."""
        ...

    def rewind(self, past: int) -> None:
        """Drop the newest tokens so that ``past`` remain.

        ArtifactError with replace-state written by the same function, and with a ring that has
        already overwritten what would be needed.
        """
        ...

    def reorder(self, rows: Array) -> None:
        """Gather every state slot along batch: row ``i`` becomes the old row ``rows[i]``."""
        ...

    def read_state(self) -> dict[str, Array]:
        """Copy every slot in its logical order, oldest token first, dequantized to f32."""
        ...

    def bytes(self) -> dict[str, int]:
        """Bytes held: ``weights``, ``state``, ``activations``."""
        ...


@runtime_checkable
class LastRows(Protocol):
    """An engine that can leave out the logits that nobody reads."""

    def call_last(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """``call``, with logits [batch, 1, vocab] of the last position of each row."""
        ...


@runtime_checkable
class Reserves(Protocol):
    """An engine that keeps room for logits, and must know how many to expect."""

    def reserve(self, places: int) -> None:
        """Have room for the logits of so many places of a call, if no tokens are held yet."""
        ...
