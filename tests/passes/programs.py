"""Tiny programs with random weights, and what they compute: to prove that a pass keeps values."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from smelt.frontend.build import build
from smelt.ir.materialize import Weights
from smelt.ir.program import Function, Program
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType
from smelt.passes.expand import Expand

Array = np.ndarray[Any, Any]

_LLAMA: dict[str, Any] = {
    "hidden_size": 40,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "vocab_size": 99,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
_GPT2: dict[str, Any] = {
    "n_embd": 36,
    "n_layer": 2,
    "n_head": 3,
    "n_positions": 64,
    "vocab_size": 99,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}
_MIXTRAL = {k: v for k, v in _LLAMA.items() if k not in ("attention_bias", "mlp_bias")} | {
    "num_local_experts": 5,
    "num_experts_per_tok": 2,
    "tie_word_embeddings": False,
    "sliding_window": None,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **_LLAMA},
    "gpt2": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **_GPT2},
    "mixtral": {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], **_MIXTRAL},
}


def tiny(name: str = "llama", **changes: Any) -> Program:
    """A decoder of two layers with odd widths."""
    return build({**CONFIGS[name], **changes})


def read(name: str, shape: tuple[int, ...]) -> Array:
    """Weights that depend on the name alone, about as large as trained ones."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    scale = 1.0 if len(shape) == 1 else shape[-1] ** -0.5
    values = rng.standard_normal(shape) * scale
    return (values + (len(shape) == 1)).astype(np.float32)


def reader(program: Program) -> Callable[[str], Array]:
    """What a checkpoint would give for the program's parameters."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, node in program.parameters().items():
        sizes = tuple(int(size) for size in node.shape if isinstance(size, int))
        count = sizes[0] if "*" in name else 1
        for i in range(count):
            shapes[name.replace("*", str(i))] = sizes[1:] if "*" in name else sizes
    return lambda name: read(name, shapes[name])


def results(
    program: Program, steps: int = 3, read: Callable[[str], Array] | None = None
) -> dict[str, Array]:
    """Logits of a prefill of two left-padded rows and of some decode steps, and the state at the
    end.
    """
    import torch

    from smelt.backends.torch.module import build_module
    from smelt.backends.torch.state import State

    expanded = Expand()(program)
    weights = Weights(expanded, read or reader(expanded))
    module = build_module(expanded, weights, use_fused=False)
    wanted = {t.attr("name") for t in program.functions["main"].inputs}
    rng = np.random.default_rng(7)
    ids = rng.integers(0, 99, (2, 6 + steps))
    mask = np.ones_like(ids)
    mask[1, :2] = 0
    positions = np.maximum(mask.cumsum(-1) - 1, 0)
    state = State(expanded)
    found: dict[str, Array] = {}
    for step in range(steps + 1):
        at = slice(0, 6) if step == 0 else slice(5 + step, 6 + step)
        inputs = {
            "input_ids": ids[:, at],
            "attention_mask": mask[:, : at.stop],
            "position_ids": positions[:, at],
        }
        tensors = {k: torch.from_numpy(v.copy()) for k, v in inputs.items() if k in wanted}
        with torch.no_grad():
            found[f"logits {step}"] = module(state=state, **tensors)["logits"].numpy()
    kept: dict[str, Any] = state.tensors()
    return found | {name: value.float().numpy() for name, value in kept.items()}


@cache
def reference(name: str = "llama") -> dict[str, Array]:
    """``results`` of the program as built."""
    return results(tiny(name))


def assert_same(found: dict[str, Array], wanted: dict[str, Array], tolerance: float = 1e-5) -> None:
    """Every array within a share of the largest value wanted."""
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        error = np.abs(found[name] - array).max() / np.abs(array).max()
        assert error <= tolerance, f"{name}: {error:.2e}"


def graph(*roots: Tensor) -> Program:
    """A program of one function that gives these tensors; its inputs are those found inside."""
    outputs = tuple((f"y{i}", root) for i, root in enumerate(roots))
    function = Function("main", (), outputs)
    inputs = tuple(n for n in function.nodes() if n.op.name == "input")
    return Program("test", "test", {"main": Function("main", inputs, outputs)}, {}, {})


def root(program: Program) -> Tensor:
    """The first output of ``graph``."""
    return program.functions["main"].outputs[0][1]


def ops_in(program: Program) -> set[str]:
    """The names of all ops of a program."""
    return {node.op.name for node in program.nodes()}


F32 = DType.F32
