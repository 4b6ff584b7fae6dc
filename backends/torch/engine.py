"""The torch backend as an Engine: numpy in and out, state kept between calls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smelt.backends.torch.emit import read_program, weight_reader
from smelt.backends.torch.module import build_module
from smelt.backends.torch.state import State
from smelt.ir.materialize import Weights
from smelt.runtime.folder import open_folder
from smelt.runtime.manifest import Manifest

Array = np.ndarray[Any, Any]


class TorchEngine:
    """A module and the state of one batch of sequences."""

    def __init__(self, module: Any, manifest: Manifest, context: int | None = None) -> None:
        self.module = module
        self.manifest = manifest
        self._state = State(module.program, context)

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a function without gradients; floats come back as f32."""
        import torch

        tensors = {name: torch.from_numpy(np.array(array)) for name, array in inputs.items()}
        device = next(iter([*self.module.parameters(), *self.module.buffers()])).device
        with torch.inference_mode():
            moved = {name: tensor.to(device) for name, tensor in tensors.items()}
            outputs = self.module(function, self._state, **moved)
        return {name: _array(tensor) for name, tensor in outputs.items()}

    def reset(self) -> None:
        """Forget all state."""
        self._state.reset()

    @property
    def past(self) -> int:
        """Tokens held by the state."""
        return self._state.past

    def rewind(self, past: int) -> None:
        """Drop the newest tokens."""
        self._state.rewind(past)

    def reorder(self, rows: Array) -> None:
        """Gather every slot along batch."""
        import torch

        self._state.reorder(torch.from_numpy(np.array(rows)))

    def read_state(self) -> dict[str, Array]:
        """Every slot that holds something, f32, oldest token first."""
        return {name: _array(tensor) for name, tensor in self._state.tensors().items()}

    def bytes(self) -> dict[str, int]:
        """Bytes of weights and state; activations are torch's own affair."""
        tensors = [*self.module.parameters(), *self.module.buffers()]
        weights = sum(t.numel() * t.element_size() for t in tensors)
        return {"weights": weights, "state": self._state.bytes(), "activations": 0}


def open_engine(
    path: Path, *, context: int | None = None, device: str = "cpu", threads: int | None = None
) -> TorchEngine:
    """Open a torch artifact folder."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    folder = open_folder(path)
    program = read_program(folder.path)
    module = build_module(program, Weights(program, weight_reader(folder.path)), device=device)
    module.eval()
    return TorchEngine(module, folder.manifest, context or folder.manifest.context)


def _array(tensor: Any) -> Array:
    tensor = tensor.detach().cpu()
    array: Array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return array
