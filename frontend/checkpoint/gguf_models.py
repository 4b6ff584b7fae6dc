"""What GGUF calls things, one row an architecture: config keys and tensor names.

Adding an architecture is adding a row. A metadata key under the architecture's prefix that no row
names is refused, because it may change what the model computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smelt.frontend.checkpoint.tensors import Array

#: metadata key under the architecture's prefix → config.json key
KEYS: dict[str, str] = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.key_length": "head_dim",
}
SOFTCAPS = {
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "attention.sliding_window": "sliding_window",
}
EXPERTS = {"expert_used_count": "num_experts_per_tok"}

#: Keys that are read elsewhere (rope, head sizes) or that say nothing about the arithmetic.
READ_ELSEWHERE = frozenset(
    {
        "vocab_size",
        "rope.freq_base",
        "rope.dimension_count",
        "rope.scaling.type",
        "rope.scaling.factor",
        "rope.scaling.original_context_length",
        "rope.scaling.finetuned",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
        "rope.scale_linear",
        "attention.value_length",
        "attention.causal",
    }
)

# GGUF tensor name → Hugging Face name, without `.weight` or `.bias`; {i} is the layer, {e} the
# expert.
OUTER = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
ATTENTION = {
    "blk.{i}.attn_q": "model.layers.{i}.self_attn.q_proj",
    "blk.{i}.attn_k": "model.layers.{i}.self_attn.k_proj",
    "blk.{i}.attn_v": "model.layers.{i}.self_attn.v_proj",
    "blk.{i}.attn_output": "model.layers.{i}.self_attn.o_proj",
    "blk.{i}.attn_norm": "model.layers.{i}.input_layernorm",
}
QK_NORM = {
    "blk.{i}.attn_q_norm": "model.layers.{i}.self_attn.q_norm",
    "blk.{i}.attn_k_norm": "model.layers.{i}.self_attn.k_norm",
}
MLP = {
    "blk.{i}.ffn_gate": "model.layers.{i}.mlp.gate_proj",
    "blk.{i}.ffn_up": "model.layers.{i}.mlp.up_proj",
    "blk.{i}.ffn_down": "model.layers.{i}.mlp.down_proj",
}
LLAMA = {
    **OUTER,
    **ATTENTION,
    **MLP,
    "blk.{i}.ffn_norm": "model.layers.{i}.post_attention_layernorm",
}
FOUR_NORMS = {
    "blk.{i}.post_attention_norm": "model.layers.{i}.post_attention_layernorm",
    "blk.{i}.ffn_norm": "model.layers.{i}.pre_feedforward_layernorm",
    "blk.{i}.post_ffw_norm": "model.layers.{i}.post_feedforward_layernorm",
}
MIXTRAL = {
    **OUTER,
    **ATTENTION,
    "blk.{i}.ffn_norm": "model.layers.{i}.post_attention_layernorm",
    "blk.{i}.ffn_gate_inp": "model.layers.{i}.block_sparse_moe.gate",
}
MIXTRAL_EXPERTS = {
    "blk.{i}.ffn_gate": "model.layers.{i}.block_sparse_moe.experts.{e}.w1",
    "blk.{i}.ffn_down": "model.layers.{i}.block_sparse_moe.experts.{e}.w2",
    "blk.{i}.ffn_up": "model.layers.{i}.block_sparse_moe.experts.{e}.w3",
}
QWEN_EXPERTS = {
    "blk.{i}.ffn_gate": "model.layers.{i}.mlp.experts.{e}.gate_proj",
    "blk.{i}.ffn_down": "model.layers.{i}.mlp.experts.{e}.down_proj",
    "blk.{i}.ffn_up": "model.layers.{i}.mlp.experts.{e}.up_proj",
}
QWEN_MOE = {
    **OUTER,
    **ATTENTION,
    "blk.{i}.ffn_norm": "model.layers.{i}.post_attention_layernorm",
    "blk.{i}.ffn_gate_inp": "model.layers.{i}.mlp.gate",
    "blk.{i}.ffn_gate_shexp": "model.layers.{i}.mlp.shared_expert.gate_proj",
    "blk.{i}.ffn_up_shexp": "model.layers.{i}.mlp.shared_expert.up_proj",
    "blk.{i}.ffn_down_shexp": "model.layers.{i}.mlp.shared_expert.down_proj",
    "blk.{i}.ffn_gate_inp_shexp": "model.layers.{i}.mlp.shared_expert_gate",
}

Transform = Callable[[Array, Mapping[str, Any]], Array]


def rope_halves(heads_key: str) -> Transform:
    """Undo GGUF's row order of q and k: rope's adjacent pairs become its two halves, per head."""

    def transform(values: Array, config: Mapping[str, Any]) -> Array:
        heads = config[heads_key]
        rows = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
        return np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(values.shape)

    return transform


def minus_one(values: Array, config: Mapping[str, Any]) -> Array:
    """Undo GGUF's addition of one to the weights of Gemma's norms."""
    return np.subtract(values, 1, dtype=values.dtype)


def one_row(values: Array, config: Mapping[str, Any]) -> Array:
    """Give back the output axis that GGUF drops from a linear layer with one output."""
    return values.reshape(1, -1)


ROTATED: dict[str, Transform] = {
    "attn_q": rope_halves("num_attention_heads"),
    "attn_k": rope_halves("num_key_value_heads"),
}


@dataclass(frozen=True)
class Architecture:
    """One row: how a GGUF architecture is spelled in Hugging Face's terms."""

    model_type: str
    architecture: str
    tensors: Mapping[str, str]
    keys: Mapping[str, str] = field(default_factory=lambda: KEYS)
    experts: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    derived: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda config: {}
    #: by the middle of a tensor's name ("attn_q", "*_norm")
    transforms: Mapping[str, Transform] = field(default_factory=dict)
    ties: bool = True  # whether config.json should say tie_word_embeddings at all
    biases: bool = False  # whether config.json says which linears have a bias


def gemma2_scale(config: dict[str, Any]) -> Mapping[str, Any]:
    """27B scales queries by hidden/heads, the others by the head's width; GGUF keeps neither."""
    return alternating(config, 2, large_layers=46)


def gemma3_scale(config: dict[str, Any]) -> Mapping[str, Any]:
    """As gemma2, with one full layer in six."""
    return alternating(config, 6, large_layers=62)


def alternating(config: dict[str, Any], period: int, large_layers: int) -> Mapping[str, Any]:
    """Query scale and layer types where every `period`-th layer attends to everything."""
    layers = config["num_hidden_layers"]
    large = layers == large_layers
    width = config["hidden_size"] // config["num_attention_heads"] if large else config["head_dim"]
    kinds = ["sliding_attention"] * (period - 1) + ["full_attention"]
    return {
        "query_pre_attn_scalar": width,
        "layer_types": [kinds[layer % period] for layer in range(layers)],
    }


GELU = {"hidden_activation": "gelu_pytorch_tanh"}
SILU = {"hidden_act": "silu"}

#: By `general.architecture`; "llama" with experts is the row "llama+experts".
ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(
        "llama", "LlamaForCausalLM", LLAMA, fixed=SILU, transforms=ROTATED, biases=True
    ),
    "llama+experts": Architecture(
        "mixtral",
        "MixtralForCausalLM",
        MIXTRAL,
        keys={**KEYS, **EXPERTS, "expert_count": "num_local_experts"},
        experts=MIXTRAL_EXPERTS,
        fixed={**SILU, "sliding_window": None},
        transforms=ROTATED,
    ),
    "qwen2": Architecture(
        "qwen2", "Qwen2ForCausalLM", LLAMA, fixed={**SILU, "use_sliding_window": False}
    ),
    "qwen3": Architecture(
        "qwen3",
        "Qwen3ForCausalLM",
        {**LLAMA, **QK_NORM},
        fixed={**SILU, "use_sliding_window": False, "attention_bias": False},
    ),
    "qwen2moe": Architecture(
        "qwen2_moe",
        "Qwen2MoeForCausalLM",
        QWEN_MOE,
        keys={
            **KEYS,
            **EXPERTS,
            "expert_count": "num_experts",
            "expert_feed_forward_length": "moe_intermediate_size",
            "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
        },
        experts=QWEN_EXPERTS,
        fixed={
            **SILU,
            "norm_topk_prob": False,
            "use_sliding_window": False,
            "decoder_sparse_step": 1,
        },
        transforms={"ffn_gate_inp_shexp": one_row},
    ),
    "qwen3moe": Architecture(
        "qwen3_moe",
        "Qwen3MoeForCausalLM",
        {**QWEN_MOE, **QK_NORM},
        keys={
            **KEYS,
            **EXPERTS,
            "expert_count": "num_experts",
            "expert_feed_forward_length": "moe_intermediate_size",
        },
        experts=QWEN_EXPERTS,
        fixed={
            **SILU,
            "norm_topk_prob": True,
            "use_sliding_window": False,
            "decoder_sparse_step": 1,
            "attention_bias": False,
        },
    ),
    "gemma": Architecture(
        "gemma",
        "GemmaForCausalLM",
        LLAMA,
        fixed={"hidden_act": "gelu_pytorch_tanh", "attention_bias": False},
        transforms={"*_norm": minus_one},
    ),
    "gemma2": Architecture(
        "gemma2",
        "Gemma2ForCausalLM",
        {**OUTER, **ATTENTION, **MLP, **FOUR_NORMS},
        keys={**KEYS, **SOFTCAPS},
        fixed={**GELU, "attention_bias": False},
        derived=gemma2_scale,
        transforms={"*_norm": minus_one},
    ),
    "gemma3": Architecture(
        "gemma3_text",
        "Gemma3ForCausalLM",
        {**OUTER, **ATTENTION, **MLP, **FOUR_NORMS, **QK_NORM},
        keys={**KEYS, **SOFTCAPS},
        fixed={
            **GELU,
            "attention_bias": False,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
        },
        derived=gemma3_scale,
        transforms={"*_norm": minus_one},
    ),
}
