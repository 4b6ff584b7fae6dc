"""What stands in for a GPU: memory that notices a use after release, plans run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smelt.runtime.cuda import Held
from smelt.runtime.engine import Array


class HostMemory:
    """Arrays by address, so that a use after release is found."""

    def __init__(self) -> None:
        self.arrays: dict[int, Array] = {}
        self._next = 1

    def hold(self, array: Array) -> Held:
        held = Held(self._next, array.nbytes, array.shape, array.dtype)
        self.arrays[self._next] = array.copy()
        self._next += 1
        return held

    def fetch(self, held: Held) -> Array:
        return self.arrays[held.address].copy()

    def release(self, held: Held) -> None:
        del self.arrays[held.address]


class HostPlan:
    """The graph itself, run by onnxruntime."""

    def __init__(self, path: Path, memory: HostMemory) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._memory = memory
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        self.calls: list[Any] = []

    def run(self, inputs: Mapping[str, Held]) -> dict[str, Held]:
        self.calls.append({name: held.shape for name, held in inputs.items()})
        feeds = {name: self._memory.fetch(held) for name, held in inputs.items()}
        names = [value.name for value in self._session.get_outputs()]
        results = self._session.run(names, feeds)
        return {n: self._memory.hold(r) for n, r in zip(names, results, strict=True)}

    def bytes(self) -> dict[str, int]:
        return {"weights": 1, "activations": 2}
