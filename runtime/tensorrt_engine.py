"""Runs a TensorRT artifact: one built engine for each function, state kept on the GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from smelt.errors import ArtifactError, UnsupportedError
from smelt.runtime.cuda import Cuda, Held
from smelt.runtime.engine import Array
from smelt.runtime.folder import Folder, open_folder
from smelt.runtime.manifest import FunctionSpec, Manifest, StateSpec, require_features
from smelt.runtime.shapes import NUMPY, bind, size_of

PAST, PRESENT = "past.", "present."
# TensorRT's names of dtypes, and ours
DTYPES = {
    "FLOAT": "f32",
    "HALF": "f16",
    "BF16": "bf16",
    "INT64": "i64",
    "INT32": "i32",
    "INT8": "i8",
    "UINT8": "u8",
    "BOOL": "bool",
}
LIBRARIES = frozenset({"tensorrt", "tensorrt_rtx"})


class Memory(Protocol):
    """Where state lives between calls."""

    def hold(self, array: Array) -> Held: ...
    def fetch(self, held: Held) -> Array: ...
    def release(self, held: Held) -> None: ...


class Plan(Protocol):
    """One built function: takes held arrays by name, gives held arrays by name."""

    inputs: tuple[str, ...]

    def run(self, inputs: Mapping[str, Held]) -> dict[str, Held]: ...
    def bytes(self) -> dict[str, int]: ...


class TensorRTEngine:
    """The engine protocol over built plans."""

    def __init__(
        self,
        manifest: Manifest,
        plans: Mapping[str, Plan],
        memory: Memory,
        *,
        context: int | None = None,
    ) -> None:
        self.manifest = manifest
        self._plans = plans
        self._memory = memory
        self._state: dict[str, Held] = {}
        self._past = 0
        self._chunk = int(manifest.options.get("chunk", "0"))
        limits = [n for n in (context, manifest.context) if n]
        self._limit = min(limits) if limits and manifest.state else None

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a function; new tokens beyond what a profile takes run in several calls."""
        spec = self.manifest.function(function)
        symbols = bind(spec, inputs, {"past": self._past})
        # A recurrent model has no cache, but its mask covers the tokens that it has seen.
        new = symbols.get("seq", 0) if spec.writes else 0
        if self._limit is not None and self._past + new > self._limit:
            raise ArtifactError(
                f"{self._past + new} tokens do not fit a context of {self._limit}",
                hint="compile with a larger --context",
            )
        step = self._chunk or new
        if new <= step:
            return self._call(spec, inputs, symbols, new)
        parts: list[dict[str, Array]] = []
        for start in range(0, new, step):
            size = min(step, new - start)
            part = _part(spec, inputs, start, size, self._past)
            parts.append(self._call(spec, part, symbols, size))
        return _joined(spec, parts)

    def reset(self) -> None:
        """Forget all state."""
        for held in self._state.values():
            self._memory.release(held)
        self._state.clear()
        self._past = 0

    @property
    def past(self) -> int:
        """Tokens held in the append slots."""
        return self._past

    def rewind(self, past: int) -> None:
        """Drop the newest tokens so that ``past`` remain."""
        if not 0 <= past <= self._past:
            raise ArtifactError(f"rewind to {past} tokens, {self._past} are held")
        if past == self._past:
            return
        for slot in map(self.manifest.slot, self._state):
            if slot.kind != "append":
                raise ArtifactError(f"rewind: state `{slot.name}` cannot be undone")
            if slot.layout == "ring" and slot.window is not None and self._past > slot.window:
                raise ArtifactError(
                    f"rewind: ring `{slot.name}` holds {slot.window} of {self._past} tokens"
                )
        self._edit(lambda slot, array: array.take(range(past), _axis(slot)))
        self._past = past

    def reorder(self, rows: Array) -> None:
        """Row ``i`` of every slot becomes the old row ``rows[i]``."""
        self._edit(lambda slot, array: array[rows])

    def read_state(self) -> dict[str, Array]:
        """Every slot, oldest token first, as f32."""
        return {
            name: self._memory.fetch(held).astype(np.float32) for name, held in self._state.items()
        }

    def bytes(self) -> dict[str, int]:
        """Bytes held, by purpose."""
        sizes = [plan.bytes() for plan in self._plans.values()]
        return {
            "weights": sum(size["weights"] for size in sizes),
            "state": sum(held.capacity for held in self._state.values()),
            "activations": sum(size["activations"] for size in sizes),
        }

    def _call(
        self, spec: FunctionSpec, inputs: Mapping[str, Array], symbols: Mapping[str, int], new: int
    ) -> dict[str, Array]:
        """One run of the plan; reads and replaces state."""
        plan = self._plans[spec.name]
        feeds = {name: self._memory.hold(inputs[name]) for name in plan.inputs if name in inputs}
        for name in spec.reads:
            if name not in self._state:
                self._state[name] = self._memory.hold(self._empty(name, symbols))
        states = {PAST + name: self._state[name] for name in spec.reads}
        outputs = plan.run(feeds | states)
        for held in feeds.values():
            self._memory.release(held)
        for name in spec.writes:
            old = self._state.pop(name, None)
            if old is not None:
                self._memory.release(old)
            self._state[name] = outputs.pop(PRESENT + name)
        self._past += new
        results = {name: self._memory.fetch(held) for name, held in outputs.items()}
        for held in outputs.values():
            self._memory.release(held)
        return results

    def _empty(self, name: str, symbols: Mapping[str, int]) -> Array:
        """What a slot holds before the first call."""
        slot = self.manifest.slot(name)
        shape = [size_of(dim, {**symbols, "past": 0}) for dim in slot.shape]
        if slot.kind == "append":
            shape[_axis(slot)] = 0
        return np.zeros(shape, NUMPY[slot.dtype])

    def _edit(self, change: Callable[[StateSpec, Array], Array]) -> None:
        """Change every slot on the host."""
        for name, held in self._state.items():
            array = change(self.manifest.slot(name), self._memory.fetch(held))
            self._state[name] = self._memory.hold(array)
            self._memory.release(held)


class TensorRTPlan:
    """A deserialized engine, an execution context for each of its profiles."""

    def __init__(self, trt: Any, runtime: Any, data: bytes, cuda: Cuda, place: str) -> None:
        self._trt = trt
        self._cuda = cuda
        self._engine = runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise ArtifactError(
                "the engine does not open on this GPU",
                place=place,
                hint="it was built for other GPUs or by another version; compile it again here",
            )
        self._weights = len(data)
        self._contexts: dict[int, Any] = {}
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        reads = trt.TensorIOMode.INPUT
        self.inputs = tuple(n for n in names if self._engine.get_tensor_mode(n) == reads)
        self.outputs = tuple(n for n in names if n not in self.inputs)

    def run(self, inputs: Mapping[str, Held]) -> dict[str, Held]:
        """Run on the GPU; the outputs stay there."""
        context = self._context(self._profile({name: h.shape for name, h in inputs.items()}))
        for name, held in inputs.items():
            context.set_input_shape(name, held.shape)
            context.set_tensor_address(name, held.address)
        outputs: dict[str, Held] = {}
        for name in self.outputs:
            dtype = NUMPY[DTYPES[self._engine.get_tensor_dtype(name).name]]
            shape = tuple(context.get_tensor_shape(name))
            outputs[name] = self._cuda.allocate(shape, dtype)
            context.set_tensor_address(name, outputs[name].address)
        if not context.execute_async_v3(self._cuda.stream.value):
            raise ArtifactError("TensorRT could not run the engine")
        self._cuda.wait()
        return outputs

    def bytes(self) -> dict[str, int]:
        """Bytes of the engine, and of the activations of the contexts made so far."""
        size = int(self._engine.device_memory_size_v2)
        return {"weights": self._weights, "activations": size * len(self._contexts)}

    def _profile(self, shapes: Mapping[str, Sequence[int]]) -> int:
        """The last profile that takes these shapes: profiles go from general to special."""
        for index in reversed(range(self._engine.num_optimization_profiles)):
            fits = True
            for name, shape in shapes.items():
                low, _, high = self._engine.get_tensor_profile_shape(name, index)
                fits &= all(a <= n <= b for a, n, b in zip(low, shape, high, strict=True))
            if fits:
                return index
        limits = {name: tuple(self._engine.get_tensor_profile_shape(name, 0)[2]) for name in shapes}
        raise ArtifactError(
            f"no profile of the engine takes the shapes {dict(shapes)}, the largest are {limits}",
            hint="compile with a larger --context or batch",
        )

    def _context(self, profile: int) -> Any:
        if profile not in self._contexts:
            context = self._engine.create_execution_context()
            context.set_optimization_profile_async(profile, self._cuda.stream.value)
            self._contexts[profile] = context
        return self._contexts[profile]


def open_engine(path: Path | str, *, context: int | None = None, **options: Any) -> TensorRTEngine:
    """Open a TensorRT artifact; NoGpu where there is none, before anything large is read."""
    if options:
        raise UnsupportedError(f"the tensorrt target has no option `{sorted(options)[0]}`")
    folder = open_folder(path)
    manifest = folder.manifest
    if manifest.target != "tensorrt":
        raise ArtifactError(f"target is {manifest.target}, wants tensorrt", place=str(path))
    require_features(manifest, LIBRARIES, place=str(path))
    cuda = Cuda()
    library = manifest.options.get("library", "")
    if library not in LIBRARIES:
        raise ArtifactError(f"library is `{library[:40]}`, wants one of {sorted(LIBRARIES)}")
    try:
        trt = import_module(library)
    except ImportError:
        raise UnsupportedError(
            f"artifact needs {library} {manifest.options.get('version', '')}, it is not installed",
            place=str(path),
            hint=f"pip install {library.replace('_', '-')}",
        ) from None
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    plans = {
        f.name: TensorRTPlan(trt, runtime, _read(folder, f), cuda, f"{path}: {f.file}")
        for f in manifest.functions
    }
    return TensorRTEngine(manifest, plans, cuda, context=context)


def _axis(slot: StateSpec) -> int:
    """The axis along which an append slot grows."""
    for axis, dim in enumerate(slot.shape):
        if isinstance(dim, str) and "past" in dim:
            return axis
    return 2


def _read(folder: Folder, function: FunctionSpec) -> bytes:
    if function.file is None:
        raise ArtifactError(
            f"function `{function.name}` has no engine file", place=str(folder.path)
        )
    return folder.file(function.file).read_bytes()


def _part(
    spec: FunctionSpec, inputs: Mapping[str, Array], start: int, size: int, past: int
) -> dict[str, Array]:
    """The inputs for ``size`` of the new tokens: axes of new tokens, and of all tokens up to them.

    ``past`` counts the tokens before this part.
    """
    part: dict[str, Array] = {}
    for tensor in spec.inputs:
        array = inputs[tensor.name]
        for axis, dim in enumerate(tensor.shape):
            if dim == "seq":
                array = array.take(range(start, start + size), axis)
            elif isinstance(dim, str) and dim.replace(" ", "") == "past+seq":
                array = array.take(range(past + size), axis)
        part[tensor.name] = array
    return part


def _joined(spec: FunctionSpec, parts: list[dict[str, Array]]) -> dict[str, Array]:
    """Outputs of consecutive calls, joined along their new tokens; others are the last call's."""
    result = dict(parts[-1])
    for tensor in spec.outputs:
        if "seq" in tensor.shape:
            axis = tensor.shape.index("seq")
            result[tensor.name] = np.concatenate([part[tensor.name] for part in parts], axis)
    return result
