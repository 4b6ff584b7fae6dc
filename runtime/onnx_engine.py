"""Runs an ONNX artifact with onnxruntime: one graph for each function, state kept in its memory.

State goes through IO binding: what a call wrote as ``present.<slot>`` is bound as ``past.<slot>``
of the next and never becomes a numpy array. With ``kv.share_buffer`` both are one buffer, which the
graph's attention writes in place; it starts small and doubles up to the size of the context.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from smelt.errors import ArtifactError, UnsupportedError
from smelt.runtime.engine import Array
from smelt.runtime.folder import open_folder
from smelt.runtime.manifest import FunctionSpec, Manifest, StateSpec, require_features
from smelt.runtime.shapes import NUMPY, bind, size_of

PAST, PRESENT = "past.", "present."
FEATURES = frozenset({"onnx.share_buffer", "onnx.contrib"})
FIRST_CAPACITY = 256


class OnnxEngine:
    """The engine protocol over onnxruntime sessions by function."""

    def __init__(
        self,
        manifest: Manifest,
        sessions: Mapping[str, Any],
        files: Mapping[str, Path],
        *,
        context: int | None = None,
    ) -> None:
        self.manifest = manifest
        self._files = files
        self._graphs = {name: _Graph(name, session) for name, session in sessions.items()}
        self._slots = {slot.name: slot for slot in manifest.state}
        self._shared = manifest.kv is not None and manifest.kv.share_buffer
        limits = [n for n in (context, manifest.kv and manifest.kv.capacity) if n]
        self._limit = min(limits) if limits else None
        self._state: dict[str, Any] = {}  # OrtValues by slot
        self._capacity = 0
        self._past = 0
        self._by_rows = manifest.options.get("continue") == "rows"

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a function; outputs are copied out, state stays with onnxruntime."""
        spec = self.manifest.function(function)
        symbols = bind(spec, inputs, {"past": self._past})
        # A recurrent model has no cache, but its mask covers the tokens that it has seen.
        new = symbols.get("seq", 0) if spec.writes else 0
        if self._limit is not None and self._past + new > self._limit:
            raise ArtifactError(
                f"{self._past + new} tokens do not fit a context of {self._limit}",
                hint="open the artifact with a larger context",
            )
        if self._shared:
            self._grow(self._past + new, symbols.get("batch", 1))
        graph = self._graphs[function]
        by_rows = self._by_rows and self._past and new > 1 and symbols.get("batch", 1) > 1
        run = self._run_rows if by_rows else self._run
        with _errors(f"run of `{function}`"):
            results = run(graph, inputs, symbols)
        self._past += new
        return results

    def reset(self) -> None:
        """Forget all state."""
        self._state.clear()
        for graph in self._graphs.values():
            graph.unbind()
        self._capacity = self._past = 0

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
        for name in self._state:
            slot = self._slot(name)
            if slot.kind != "append":
                raise ArtifactError(f"rewind: state `{name}` cannot be undone")
            if slot.layout == "ring" and slot.window is not None and self._past > slot.window:
                raise ArtifactError(
                    f"rewind: ring `{name}` holds {slot.window} of {self._past} tokens"
                )
        if not self._shared:
            for name, value in self._state.items():
                cut = [slice(None)] * len(value.shape())
                cut[_axis(self._slot(name))] = slice(0, past)
                self._state[name] = _value(np.array(_array(value)[tuple(cut)]))
        self._past = past

    def reorder(self, rows: Array) -> None:
        """Row ``i`` of every slot becomes the old row ``rows[i]``."""
        for name, value in self._state.items():
            self._state[name] = _value(_array(value)[rows])

    def read_state(self) -> dict[str, Array]:
        """Every slot that holds something, oldest token first, as f32."""
        found: dict[str, Array] = {}
        for name, value in self._state.items():
            slot = self._slot(name)
            array = _array(value)
            if slot.kind == "append" and self._shared:
                cut = [slice(None)] * array.ndim
                cut[_axis(slot)] = slice(0, self._past)
                array = array[tuple(cut)]
            found[name] = np.array(array, np.float32)
        return found

    def bytes(self) -> dict[str, int]:
        """Bytes of weights and state; activations are onnxruntime's own affair."""
        state = sum(value.tensor_size_in_bytes() for value in self._state.values())
        return {"weights": self.manifest.weights_bytes, "state": state, "activations": 0}

    def graph_file(self, function: str) -> Path:
        """The graph of a function; verification looks into it."""
        return self._files[function]

    def _run(
        self, graph: _Graph, inputs: Mapping[str, Array], symbols: Mapping[str, int]
    ) -> dict[str, Array]:
        binding = graph.binding
        held = []  # bound arrays must outlive the run
        for name in graph.inputs:
            array = np.ascontiguousarray(inputs[name])
            held.append(array)
            binding.bind_cpu_input(name, array)
        for slot in graph.past:
            if slot not in self._state:
                self._state[slot] = _value(self._empty(self._slot(slot), symbols))
            graph.bind(PAST + slot, self._state[slot])
        for name in graph.outputs:
            slot = name.removeprefix(PRESENT)
            if name == slot or not self._in_place(slot):
                binding.bind_output(name, "cpu")
            else:
                graph.bind(name, self._state[slot])
        graph.session.run_with_iobinding(binding)
        results: dict[str, Array] = {}
        for name, value in zip(graph.outputs, binding.get_outputs(), strict=True):
            slot = name.removeprefix(PRESENT)
            if name == slot:
                results[name] = _array(value)
            elif not self._in_place(slot):  # else the first OrtValue keeps its numpy memory alive
                self._state[slot] = value
        return results

    def _run_rows(
        self, graph: _Graph, inputs: Mapping[str, Array], symbols: Mapping[str, int]
    ) -> dict[str, Array]:
        """One run for each row of the batch, for graphs that cannot continue several at once."""
        spec = self.manifest.function(graph.name)
        batched = {tensor.name for tensor in spec.inputs if tensor.shape[:1] == ("batch",)}
        # Copies: what numpy() gives may be the OrtValue's own memory, which ends with it.
        held = {name: np.array(_array(value)) for name, value in self._state.items()}
        parts: list[dict[str, Array]] = []
        states: list[dict[str, Array]] = []
        for row in range(symbols["batch"]):
            cut = slice(row, row + 1)
            self._state = {name: _value(array[cut]) for name, array in held.items()}
            given = {n: a[cut] if n in batched else a for n, a in inputs.items()}
            parts.append(self._run(graph, given, {**symbols, "batch": 1}))
            states.append({name: np.array(_array(v)) for name, v in self._state.items()})
        self._state = {n: _value(np.concatenate([s[n] for s in states])) for n in states[0]}
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _in_place(self, slot: str) -> bool:
        return self._shared and self._slot(slot).kind == "append"

    def _empty(self, slot: StateSpec, symbols: Mapping[str, int]) -> Array:
        """What a slot holds before the first call."""
        values = {**symbols, "past": 0}
        shape = [size_of(dim, values) for dim in slot.shape]
        if slot.kind == "append":
            shape[_axis(slot)] = self._capacity if self._shared else 0
        return np.zeros(shape, NUMPY[slot.dtype])

    def _grow(self, tokens: int, batch: int) -> None:
        """Make the shared buffers hold so many tokens, keeping what they hold."""
        if tokens <= self._capacity:
            return
        capacity = max(FIRST_CAPACITY, self._capacity)
        while capacity < tokens:
            capacity *= 2
        self._capacity = capacity if self._limit is None else min(capacity, self._limit)
        for slot in self._slots.values():
            if slot.kind != "append":
                continue
            larger = self._empty(slot, {"batch": batch})
            old = self._state.get(slot.name)
            if old is not None:
                cut = [slice(None)] * larger.ndim
                cut[_axis(slot)] = slice(0, self._past)
                larger[tuple(cut)] = _array(old)[tuple(cut)]
            self._state[slot.name] = _value(larger)

    def _slot(self, name: str) -> StateSpec:
        if name not in self._slots:
            raise ArtifactError(f"the graph has state `{name}`, the manifest does not")
        return self._slots[name]


class _Graph:
    """A session with its names sorted into arrays and state, and what is bound to them."""

    def __init__(self, name: str, session: Any) -> None:
        self.name = name
        self.session = session
        names = [value.name for value in session.get_inputs()]
        self.inputs = [name for name in names if not name.startswith(PAST)]
        self.past = [name.removeprefix(PAST) for name in names if name.startswith(PAST)]
        self.outputs = [value.name for value in session.get_outputs()]
        self.binding = session.io_binding()
        self._bound: dict[str, Any] = {}

    def bind(self, name: str, value: Any) -> None:
        """Bind state to a name, unless it is bound already: a shared buffer stays what it was."""
        if self._bound.get(name) is value:
            return
        past = name.startswith(PAST)
        put = self.binding.bind_ortvalue_input if past else self.binding.bind_ortvalue_output
        put(name, value)
        self._bound[name] = value

    def unbind(self) -> None:
        """Let go of all that is bound."""
        self.binding.clear_binding_inputs()
        self.binding.clear_binding_outputs()
        self._bound.clear()


def open_engine(
    path: Path | str, *, context: int | None = None, threads: int | None = None, **options: Any
) -> OnnxEngine:
    """Open an ONNX artifact folder; ``threads`` limits the cores of one call."""
    if options:
        raise UnsupportedError(f"the onnx target has no option `{sorted(options)[0]}`")
    try:
        import onnxruntime
    except ImportError:
        raise UnsupportedError(
            "onnxruntime is not installed", hint="pip install 'smelt[onnx]'"
        ) from None
    folder = open_folder(path)
    manifest = folder.manifest
    if manifest.target != "onnx":
        raise ArtifactError(f"target is {manifest.target}, wants onnx", place=str(path))
    require_features(manifest, FEATURES, place=str(path))
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    # Quantized weights mean their values; by default onnxruntime would round activations too.
    settings.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
    if threads:
        settings.intra_op_num_threads = threads
    sessions, files = {}, {}
    for function in manifest.functions:
        graph = folder.file(function.file or f"{function.name}.onnx")
        files[function.name] = graph
        with _errors(f"load of `{function.name}`"):
            sessions[function.name] = onnxruntime.InferenceSession(
                str(graph), settings, providers=["CPUExecutionProvider"]
            )
        _check_names(function, sessions[function.name])
    return OnnxEngine(manifest, sessions, files, context=context)


def _check_names(function: FunctionSpec, session: Any) -> None:
    """The graph and the manifest must speak of the same arrays."""
    graph = _Graph(function.name, session)
    given = [name for name in graph.outputs if not name.startswith(PRESENT)]
    pairs: Sequence[tuple[str, list[str], set[str]]] = (
        ("inputs", graph.inputs, {spec.name for spec in function.inputs}),
        ("outputs", given, {spec.name for spec in function.outputs}),
    )
    for what, found, told in pairs:
        # An input that the graph does not need may be missing from it.
        wrong = set(found) - told if what == "inputs" else set(found) ^ told
        if wrong:
            raise ArtifactError(
                f"graph `{function.name}` and manifest differ in {what}: {', '.join(sorted(wrong))}"
            )


def _axis(slot: StateSpec) -> int:
    """The axis along which an append slot grows."""
    for axis, dim in enumerate(slot.shape):
        if isinstance(dim, str) and "past" in dim:
            return axis
    return 2


BF16 = 16  # onnx's number of it; onnxruntime takes and gives no numpy arrays of that type


def _value(array: Array) -> Any:
    from onnxruntime import OrtValue

    array = np.ascontiguousarray(array)
    if array.dtype == NUMPY["bf16"]:
        return OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), BF16)
    return OrtValue.ortvalue_from_numpy(array)


def _array(value: Any) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    data = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(data, NUMPY["bf16"]).reshape(value.shape())


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    """onnxruntime's exceptions have no common type of their own."""
    try:
        yield
    except (ArtifactError, UnsupportedError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        if type(error).__module__.split(".")[0] != "onnxruntime":
            raise
        raise ArtifactError(f"onnxruntime: {doing} failed: {str(error).splitlines()[0]}") from None
