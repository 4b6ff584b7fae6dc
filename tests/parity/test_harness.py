"""The parity table sees small mistakes: a spec that is wrong in one place fails it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.case import all_cases
from tests.parity.reference import reference
from tests.parity.runners import Reference
from tests.parity.test_parity import check, check_state

#: A case → one line of its spec said wrongly.
MISTAKES = {
    "scale": ("llama-causal_lm-plain", "scale = head_dim ** -0.49"),
    "rope": (
        "llama-causal_lm-plain",
        "def rotate(x, i):\n    return rope(x, theta=9990.0)\nignores = ('rope_parameters',)",
    ),
    "window": (
        "mistral-causal_lm-short-window",
        "def window(i):\n    return config.sliding_window + 1",
    ),
    "layer": (
        "qwen2-causal_lm-late-window",
        "def is_sliding(i):\n    return i > config.max_window_layers\nignores = ('layer_types',)",
    ),
    "soft cap": ("gemma2-causal_lm-plain", "attention_softcap = config.attn_logit_softcapping + 5"),
    "norm": (
        "qwen3-causal_lm-plain",
        "def norm(x):\n    return rms_norm(x, eps=config.rms_norm_eps + 0.0001)",
    ),
    "router": ("mixtral-causal_lm-plain", "def sum(x):\n    return 1.01"),
    "activation": ("gpt2-causal_lm-plain", "act = 'gelu' if config.activation_function else None"),
    "bucket": ("t5-seq2seq_lm-plain", "furthest = config.relative_attention_max_distance - 1"),
    "delta": ("mamba-causal_lm-plain", "def softplus(x):\n    return relu(x)"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_seen(name: str, tmp_path: Path) -> None:
    case_id, mistake = MISTAKES[name]
    case = next(c for c in all_cases() if c.id == case_id)
    expected = reference(case)
    spec = tmp_path / "wrong.arch"
    spec.write_text(f'extends("{case.model_type}")\n{mistake}\n', encoding="utf-8")
    runner = Reference(expected.directory, case.task, spec)
    with pytest.raises(AssertionError, match=r"differs by|another token"):
        for number, step in enumerate(expected.steps):
            actual = runner.call(step.function, step.inputs)
            for output, value in step.outputs.items():
                check(actual[output], value, step.real, f"{output} of call {number}")
        for held in expected.held:
            check_state(runner.read_state(), held)
