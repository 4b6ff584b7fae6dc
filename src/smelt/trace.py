"""Where a fault begins in a model without state: every tensor of one call, as sketches.

A model with caches shows its first bad layer there. In one without, each place of the program (a
spec's layer path) is known by a sketch of the last tensor that the reference computed in it. An
artifact fuses and reorders, so a place counts as reached when any tensor of the call is that one;
the fault lies behind the last place that was reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from smelt.runtime.engine import Engine
from smelt.sketch import sketch

Array = np.ndarray[Any, Any]


class Places:
    """Hears the reference's tensors; keeps the last of each place, in the order of the ends."""

    def __init__(self) -> None:
        self.sketches: dict[str, Array] = {}

    def hear(self, place: str, tensor: Any) -> None:
        """Note a torch tensor; what is no activation of a place is left out."""
        if not place or not hasattr(tensor, "is_floating_point") or not tensor.is_floating_point():
            return
        if tensor.dim() >= 3:
            self.sketches.pop(place, None)
            self.sketches[place] = sketch(tensor.float().numpy())


def first_fault(
    engine: Engine,
    function: str,
    inputs: Mapping[str, Array],
    wanted: Mapping[str, Array],
    tolerance: float,
) -> str | None:
    """The place where an engine leaves the reference; None where the engine cannot be traced.

    wanted: sketches by place, in order. tolerance: of each sketch's largest value.
    """
    tracer = TRACERS.get(engine.manifest.target)
    if tracer is None or not wanted:
        return None
    left = dict(wanted)
    engine.reset()
    for array in tracer(engine, function, inputs):
        if array.dtype == np.float32 and array.ndim >= 2:
            found = sketch(array)
            for place in [p for p, known in left.items() if _is_same(found, known, tolerance)]:
                del left[place]
    engine.reset()
    places = list(wanted)
    reached = [i for i, place in enumerate(places) if place not in left]
    after = max(reached, default=-1) + 1
    return places[after] if after < len(places) else None


def _is_same(found: Array, known: Array, tolerance: float) -> bool:
    if found.shape != known.shape:
        return False
    scale = float(np.abs(known).max(initial=0.0)) or 1e-30
    return bool(np.abs(found - known).max(initial=0.0) <= tolerance * scale)


def _torch(engine: Any, function: str, inputs: Mapping[str, Array]) -> Iterator[Array]:
    heard: list[Array] = []

    def listen(node: Any, tensor: Any) -> None:
        if hasattr(tensor, "is_floating_point") and tensor.is_floating_point():
            heard.append(tensor.detach().cpu().float().numpy())

    engine.module.listener = listen
    try:
        engine.call(function, inputs)
    finally:
        engine.module.listener = None
    yield from heard


def _onnx(engine: Any, function: str, inputs: Mapping[str, Array]) -> Iterator[Array]:
    import onnx
    import onnxruntime

    path = engine.graph_file(function)
    model = onnx.load(path, load_external_data=False)
    known = {output.name for output in model.graph.output}
    for node in model.graph.node:
        names = [name for name in node.output if name and name not in known]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    folder = str(path.parent)
    settings.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", folder
    )
    settings.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    wanted = {spec.name for spec in session.get_inputs()}
    yield from session.run(None, {n: a for n, a in inputs.items() if n in wanted})


def _edge(engine: Any, function: str, inputs: Mapping[str, Array]) -> Iterator[Array]:
    yield from engine.trace(function, inputs)


TRACERS: dict[str, Callable[[Any, str, Mapping[str, Array]], Iterator[Array]]] = {
    "torch": _torch,
    "onnx": _onnx,
    "edge": _edge,
}
