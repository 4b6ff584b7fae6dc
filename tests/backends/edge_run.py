"""A program written to a `model.smelt` and run by the edge runtime, without the driver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from smelt.backends.edge.emit import Options, emit
from smelt.ir.materialize import Weights
from smelt.ir.program import Program
from smelt.runtime.artifact import ArtifactWriter
from smelt.runtime.manifest import FunctionSpec, Manifest, Source

Array = np.ndarray[Any, Any]


def write(
    program: Program,
    weights: Weights,
    path: Path,
    context: int = 64,
    settings: tuple[tuple[str, int], ...] = (),
) -> Path:
    """Emit a program as an artifact with a manifest that says as little as one can."""
    functions = tuple(FunctionSpec(name=n, inputs=(), outputs=()) for n in program.functions)
    manifest = Manifest(
        smelt="0",
        target="edge",
        task="case",
        model_type="case",
        source=Source(fingerprint="0" * 64),
        functions=functions,
    )
    with ArtifactWriter(path) as writer:
        emit(program, weights, writer, Options(context, settings))
        writer.seal(manifest)
    return path


class EdgeRun:
    """An opened artifact, keeping state between runs."""

    def __init__(self, path: Path, *, batch: int = 2, threads: int = 1) -> None:
        from smelt.runtime import _edge

        self.model = _edge.Model.open(str(path))
        self.model.verify_checksums()
        self.session = _edge.Session.open(self.model, threads, 0, [("batch", batch)])

    def run(self, inputs: dict[str, Array], function: str = "main") -> dict[str, Array]:
        """The outputs, and every state slot as ``state <slot>``."""
        given = {name: np.require(array, None, "C") for name, array in inputs.items()}
        found: dict[str, Array] = dict(self.session.call(function, given))
        return found | {f"state {n}": a for n, a in self.session.read_state().items()}
