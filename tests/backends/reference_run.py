"""What the reference says: the torch module in which nothing is fused."""

from __future__ import annotations

from typing import Any

import numpy as np

from smelt.ir.materialize import Weights
from smelt.ir.program import Program

Array = np.ndarray[Any, Any]


class Reference:
    """Runs a program on the torch backend, keeping state between runs."""

    def __init__(self, program: Program, weights: Weights) -> None:
        from smelt.backends.torch.reference import reference_module
        from smelt.backends.torch.state import State

        self.module = reference_module(program, weights)
        self.state = State(program)

    def run(self, inputs: dict[str, Array], function: str = "main") -> dict[str, Array]:
        """The outputs, and every state slot as ``state <slot>``."""
        import torch

        given = {name: torch.from_numpy(array) for name, array in inputs.items()}
        with torch.no_grad():
            results = self.module(function, self.state, **given)
        found = {name: _array(value) for name, value in results.items()}
        return found | {f"state {n}": _array(v) for n, v in self.state.tensors().items()}


def _array(value: Any) -> Array:
    import torch

    value = value.detach()
    array: Array = (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    return array
