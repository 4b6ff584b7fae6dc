"""The process in which TensorRT works: coverage first, then one engine for each graph.

`python -m smelt.backends.tensorrt.worker job.json` writes `result.json` beside the job. It is a
process of its own because the library is large and native: a crash there is an error here, and
its memory is given back.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from smelt.backends.tensorrt.profiles import Range, axis_range
from smelt.errors import SmeltError, UnsupportedError

LIBRARIES = ("tensorrt", "tensorrt_rtx")


class Refusal(UnsupportedError):
    """A refusal that carries what the parent reports."""

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.fields = fields


def load(wanted: str) -> tuple[str, Any, Any]:
    """Name, module and logger of the first library that can build here."""
    reasons: dict[str, str] = {}
    for name in LIBRARIES if wanted == "auto" else (wanted,):
        try:
            trt = import_module(name)
        except ImportError as error:
            reasons[name] = f"not installed ({error})"
            continue
        log = logger(trt)
        # `tensorrt` needs a GPU to build; without one, the constructor fails or gives nothing.
        try:
            builder = trt.Builder(log)
        except Exception as error:
            builder, reasons[name] = None, str(error)
        if builder:
            return name, trt, log
        reasons[name] = "; ".join(log.errors) or reasons.get(name, "no builder")
    raise Refusal("no TensorRT library can build here", reasons=reasons)


def logger(trt: Any) -> Any:
    """A logger that keeps errors for the report and prints nothing."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Log()


def uncovered(trt: Any, log: Any, graph: Path) -> list[dict[str, str]]:
    """The nodes that the library cannot run, each with its op and the parser's reason."""
    network = new_network(trt, trt.Builder(log))  # must outlive the parser's work
    parser = trt.OnnxParser(network, log)
    if parser.supports_model_v2(graph.read_bytes(), str(graph)):
        return []
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    found = [
        {
            "graph": graph.name,
            "node": error.node_name(),
            "op": error.node_operator(),
            "reason": f"{error.code()}: {error.desc()}".removeprefix("ErrorCode."),
        }
        for error in errors
    ]
    del network
    return found or [{"graph": graph.name, "node": "", "op": "", "reason": "; ".join(log.errors)}]


def new_network(trt: Any, builder: Any) -> Any:
    """An empty network whose types are those of the graph."""
    flags = getattr(trt, "NetworkDefinitionCreationFlag", None)
    strong = getattr(flags, "STRONGLY_TYPED", None)
    return builder.create_network(0 if strong is None else 1 << int(strong))


def build(trt: Any, log: Any, job: dict[str, Any], graph: Path, engine: Path) -> dict[str, Any]:
    """Build one engine file; what it holds."""
    builder = trt.Builder(log)
    network = new_network(trt, builder)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        reasons = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise Refusal(f"{graph.name} does not parse: {'; '.join(reasons)}")

    allow_decomposition(trt, network)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32: the certificate compares with it
    if job["compute"] and hasattr(config, "num_compute_capabilities"):
        config.num_compute_capabilities = len(job["compute"])
        for index, capability in enumerate(job["compute"]):
            config.set_compute_capability(getattr(trt.ComputeCapability, capability), index)

    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    shapes: list[dict[str, list[list[int]]]] = []
    for ranges in job["profiles"]:
        profile = builder.create_optimization_profile()
        axes = {tensor.name: tensor_axes(tensor, ranges) for tensor in inputs}
        for name, found in axes.items():
            profile.set_shape(name, *([getattr(r, k) for r in found] for k in Range.__slots__))
        if config.add_optimization_profile(profile) < 0:
            raise Refusal(f"{graph.name}: TensorRT refuses the profile {axes}: {log.errors}")
        shapes.append({n: [[r.low, r.best, r.high] for r in found] for n, found in axes.items()})

    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Refusal(f"{graph.name}: the build failed: {'; '.join(log.errors)}")
    with engine.open("wb") as file:
        file.write(plan)
    return {"bytes": plan.nbytes, "layers": network.num_layers, "profiles": shapes}


def allow_decomposition(trt: Any, network: Any) -> None:
    """Let an `Attention` without a dedicated kernel (all fp32 ones) run as separate steps."""
    kind = getattr(trt.LayerType, "ATTENTION_OUTPUT", None)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if kind is not None and layer.type == kind:
            layer.__class__ = trt.IAttentionOutputLayer  # the binding's way to downcast
            layer.attention.decomposable = True


def tensor_axes(tensor: Any, ranges: dict[str, Range]) -> list[Range]:
    """The range of each axis of a network input."""
    axes: list[Range] = []
    for axis, size in enumerate(tensor.shape):
        name = str(size) if size >= 0 else tensor.get_dimension_name(axis)
        if not name:
            raise Refusal(f"input `{tensor.name}` axis {axis} is dynamic and has no name")
        axes.append(axis_range(name, ranges, f"{tensor.name} axis {axis}"))
    return axes


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job; the result, or a refusal with its reasons."""
    job["profiles"] = [{n: Range(*r) for n, r in p.items()} for p in job["profiles"]]
    name, trt, log = load(job["library"])
    result: dict[str, Any] = {"library": name, "version": trt.__version__}
    graphs = {function: Path(path) for function, path in job["graphs"].items()}
    missing = [row for graph in graphs.values() for row in uncovered(trt, log, graph)]
    if missing or job["check_only"]:
        return {**result, "uncovered": missing}
    log.errors.clear()
    engines = {
        function: build(trt, log, job, graph, Path(job["engines"][function]))
        for function, graph in graphs.items()
    }
    return {**result, "uncovered": [], "engines": engines}


def main() -> None:
    """Read the job named on the command line, do it, write its result."""
    path = Path(sys.argv[1])
    try:
        result = run(json.loads(path.read_text(encoding="utf-8")))
    except SmeltError as error:
        result = {"error": error.message, "place": error.place, **getattr(error, "fields", {})}
    path.with_name("result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
