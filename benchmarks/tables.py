"""What is measured on which model: the engines, the runs, and what smelt is to reach."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import peers
from benchmarks.driver import Job
from benchmarks.engines import Engine, step

_PREFILL, _PAST, _TEXT = 512, 32, 128


@dataclass(frozen=True)
class Model:
    """One checkpoint and what is measured on it; `key` is its name in commands and in the page."""

    key: str
    title: str
    engines: tuple[Engine, ...]
    jobs: tuple[Job, ...]
    decodes: bool


def _smelt(name: str, form: str, model: str, worker: str, options: str) -> Engine:
    """A row of ours: `smelt ONNX …` for onnxruntime, every other for our own runtime."""
    onnx = name.startswith("smelt ONNX")
    made = f"smelt/{model}-{name.removeprefix('smelt ').replace(', ', '-').replace(' ', '-')}"
    target = "onnx --dialect ort" if onnx else "edge"
    made += "" if onnx else ".smelt"
    command = f"{{python}} -m smelt.cli compile {{{model}}} --target {target} {options}"
    made_by = step(made, f"{command} --no-verify -o {made}")
    against = "onnxruntime" if onnx else ""
    return Engine(name, form, model, worker, made, (made_by,), against=against)


def decoders(model: str) -> tuple[Engine, ...]:
    """Engines that generate, by format."""

    def ours(name: str, form: str, options: str) -> Engine:
        # Where inputs are rounded too, the cache is bf16 by itself.
        is_rounded = form == "bf16" or "activations" in options
        options += " --context 1024" + ("" if form == "f32" or is_rounded else " --kv f16")
        return _smelt(name, form, model, "smelt_decoder", options)

    def onnx(name: str, options: str) -> Engine:
        return _smelt(name, "int4", model, "smelt_onnx_decoder", options)

    # The bits of onnxruntime-genai's own: its last layer has 4 too.
    same = "--quant int4,group=32,embedding=int4,lm_head=int4,activations=int8"
    int4, int8 = "--quant int4,group=32", "--quant int8,group=32"
    return (
        ours("smelt int4", "int4", int4),
        ours("smelt int4, int8 inputs", "int4", f"{int4},activations=int8"),
        peers.llama(model, "Q4_0", "int4"),
        peers.llama(model, "Q4_0", "int4", amx=False),
        peers.openvino_decoder(model, "int4", "--group-size 32 --sym --ratio 1.0"),
        peers.executorch(model),
        peers.onnxruntime_genai(model),
        onnx("smelt ONNX int4", int4),
        onnx("smelt ONNX int4, int8 inputs", same),
        ours("smelt int8", "int8", int8),
        ours("smelt int8, int8 inputs", "int8", f"{int8},activations=int8"),
        peers.llama(model, "Q8_0", "int8"),
        peers.llama(model, "Q8_0", "int8", amx=False),
        peers.openvino_decoder(model, "int8", ""),
        ours("smelt bf16", "bf16", "--quant bf16"),
        peers.llama(model, "BF16", "bf16"),
        ours("smelt f32", "f32", ""),
    )


def encoders(model: str) -> tuple[Engine, ...]:
    """Engines that read text, by format."""
    int8 = "--quant int8,group=32"

    def ours(name: str, form: str, options: str = "") -> Engine:
        worker = "smelt_onnx_encoder" if "ONNX" in name else "smelt_encoder"
        return _smelt(name, form, model, worker, options)

    return (
        ours("smelt f32", "f32"),
        peers.onnxruntime_encoder(model),
        ours("smelt ONNX f32", "f32"),
        ours("smelt bf16", "bf16", "--quant bf16"),
        peers.openvino_encoder(model),
        ours("smelt int8", "int8", int8),
        ours("smelt int8, int8 inputs", "int8", f"{int8},activations=int8"),
        peers.ctranslate2_encoder(model),
    )


def _generating(new: int) -> tuple[Job, ...]:
    return (
        Job("prefill", {"run": "prefill", "tokens": _PREFILL}, _PREFILL, 1.25),
        Job("decode", {"run": "decode", "past": _PAST, "tokens": new}, new, 1.5),
    )


def _reading(times: int) -> tuple[Job, ...]:
    return tuple(
        Job(f"{batch}×{_TEXT}", {"run": "encode", "batch": batch, "tokens": _TEXT, "times": count})
        for batch, count in ((1, times), (8, max(1, times // 4)))
    )


def _speed(title: str, new: int) -> str:
    return f"{title}: tokens/s, prompt of {_PREFILL}, {new} new ones after {_PAST}"


_CALLS = "milliseconds a call, batch × tokens"
MODELS = (
    Model(
        key="smollm2",
        title=_speed("SmolLM2-135M", 128),
        engines=decoders("smollm2"),
        jobs=_generating(128),
        decodes=True,
    ),
    Model(
        key="qwen",
        title=_speed("Qwen2.5-0.5B's shape", 64),
        engines=decoders("qwen"),
        jobs=_generating(64),
        decodes=True,
    ),
    Model(
        key="minilm",
        title=f"all-MiniLM-L6-v2: {_CALLS}",
        engines=encoders("minilm"),
        jobs=_reading(20),
        decodes=False,
    ),
    Model(
        key="bert",
        title=f"BERT-base's shape: {_CALLS}",
        engines=encoders("bert"),
        jobs=_reading(4),
        decodes=False,
    ),
)
