"""The columns of the parity table: how each target opens a checkpoint. A target of the compiler
joins by being in its table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from smelt.compiling import compile
from smelt.frontend.build import build, own_context
from smelt.frontend.checkpoint import open_checkpoint
from smelt.ir.materialize import Weights
from smelt.targets import TARGETS

Array = np.ndarray[Any, Any]

CONTEXT = 64


def context(config: Mapping[str, Any]) -> int:
    """That of all rows, or the model's own where a table of positions may end before it."""
    kind = config.get("position_embedding_type", "rotary")
    is_turned = config.get("rope_parameters") is not None and kind == "rotary"  # without an end
    return CONTEXT if is_turned else min(CONTEXT, own_context(config) or CONTEXT)


class Runner(Protocol):
    """What a column needs of an opened model."""

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a function; it reads and updates state."""

    def read_state(self) -> dict[str, Array]:
        """Every slot, oldest token first."""


Open = Callable[[Path, str, Path], Runner]


class Reference:
    """The reference: the unoptimized graph on torch, every composite by its meaning."""

    def __init__(self, directory: Path, task: str, spec: Path | None = None) -> None:
        from smelt.backends.torch.reference import reference_module
        from smelt.backends.torch.state import State

        checkpoint = open_checkpoint(str(directory))
        shapes = {name: info.shape for name, info in checkpoint.tensors.items()}
        config = checkpoint.config
        program = build(config, task=task, spec=spec, shapes=shapes, context=context(config))
        self._module = reference_module(program, Weights(program, checkpoint.read))
        self._state = State(program)

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        import torch

        tensors = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
        with torch.inference_mode():
            outputs = self._module(function, self._state, **tensors)
        return {name: value.numpy() for name, value in outputs.items()}

    def read_state(self) -> dict[str, Array]:
        return {name: value.numpy() for name, value in self._state.tensors().items()}


def _reference(directory: Path, task: str, out: Path) -> Runner:
    return Reference(directory, task)


def _compiled(target: str, dialect: str | None) -> Open:
    """A column that compiles an artifact and opens it, as a user would."""

    def open_artifact(directory: Path, task: str, out: Path) -> Runner:
        if (target, dialect) not in TARGETS:
            pytest.skip(f"no target {target} {dialect or ''}")
        chosen = TARGETS[target, dialect]
        if reason := chosen.cannot_run():
            pytest.skip(reason)
        compile(
            directory,
            target=target,
            dialect=dialect,
            task=task,
            context=context(open_checkpoint(str(directory)).config),
            out=out / "artifact",
            verify=False,
        )
        return chosen.open(out / "artifact")

    return open_artifact


COLUMNS: dict[str, Open] = {
    "reference": _reference,
    "torch": _compiled("torch", None),
    "onnx-standard": _compiled("onnx", "standard"),
    "onnx-ort": _compiled("onnx", "ort"),
    "edge": _compiled("edge", None),
}
