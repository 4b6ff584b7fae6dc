"""Mixtures of experts at published sizes lower from config alone, to graphs that do not grow with
the number of experts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from smelt.frontend.build import build
from smelt.frontend.checkpoint.dialect import normalise
from smelt.passes.pipeline import run
from smelt.targets import TARGETS
from tests.spec.test_names import saved_shapes

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

#: What differs from the config class's own sizes; the key that counts experts; layers with experts.
SIZES: dict[str, tuple[str, dict[str, Any], str, int]] = {
    "deepseek_v3": ("DeepseekV3ForCausalLM", {}, "n_routed_experts", 58),
    "olmoe": ("OlmoeForCausalLM", {}, "num_experts", 16),
    "minimax_m2": ("MiniMaxM2ForCausalLM", {}, "num_local_experts", 62),
}
EXPERTS = {"deepseek_v3": 256, "olmoe": 64, "minimax_m2": 256}


def config(model_type: str, **changes: Any) -> Any:
    return transformers.AutoConfig.for_model(model_type, **{**SIZES[model_type][1], **changes})


@pytest.mark.parametrize("model_type", SIZES)
def test_experts_lower_from_config_alone(
    model_type: str, record_property: Callable[[str, object], None]
) -> None:
    _, _, key, layers = SIZES[model_type]
    published = config(model_type)
    assert getattr(published, key) == EXPERTS[model_type]
    start = time.process_time()
    said = normalise(published.to_dict(), "config.json")
    program = build(said, task="causal_lm")
    stacked = [name for name in program.parameters() if ".experts.*." in name]
    assert len(stacked) in (2 * layers, 3 * layers)
    nodes = {}
    for target in TARGETS.values():
        optimized, _ = run(program, target.pipeline, keep=target.keep())
        nodes[target.pipeline] = len(optimized.nodes())
    seconds = time.process_time() - start
    record_property(
        f"figure {model_type}, {EXPERTS[model_type]} experts in {layers} layers",
        f"from config to {len(TARGETS)} targets in {seconds:.1f} s, {max(nodes.values())} nodes",
    )
    few = normalise(config(model_type, **{key: 16}).to_dict(), "config.json")
    same = build(few, task="causal_lm")
    assert len(same.nodes()) == len(program.nodes())
    edge = TARGETS["edge", None]
    optimized, _ = run(same, edge.pipeline, keep=edge.keep())
    assert len(optimized.nodes()) == nodes[edge.pipeline]


def test_every_tensor_of_every_expert_is_read() -> None:
    said, shapes = saved_shapes("DeepseekV3ForCausalLM", config("deepseek_v3"))
    assert sum(".mlp.experts." in name for name in shapes) == 58 * 256 * 3
    # The build refuses a tensor that nothing reads, one that is missing, or has another shape.
    build(normalise(said, "config.json"), task="causal_lm", shapes=shapes)
