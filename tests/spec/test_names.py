"""At published sizes names and shapes are those that transformers writes; nothing is computed."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.frontend.build import build
from smelt.frontend.checkpoint.dialect import normalise
from tests.parity.case import all_cases

#: Tourist months, as the first models of time series were published for.
MONTHS: dict[str, Any] = {
    "prediction_length": 24,
    "context_length": 48,
    "lags_sequence": [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 23, 24, 25, 35, 36, 37],
    "num_time_features": 2,
    "num_static_categorical_features": 1,
    "cardinality": [366],
    "embedding_dimension": [2],
    "encoder_layers": 4,
    "decoder_layers": 4,
    "d_model": 32,
}

#: Published sizes by model type: keyword arguments of the config class, where its defaults are not.
SIZES: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "intermediate_size": 8192,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
    "mistral": {},
    "qwen2": {
        "hidden_size": 896,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "intermediate_size": 4864,
        "tie_word_embeddings": True,
    },
    "qwen3": {
        "hidden_size": 1024,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "intermediate_size": 3072,
    },
    "gemma2": {},
    "hunyuan_v1_dense": {"head_dim": 128},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "gemma3_text": {"hidden_size": 1152, "num_attention_heads": 4, "num_key_value_heads": 1},
    "mixtral": {},
    "glm4_moe": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "deepseek_v2": {"num_experts_per_tok": 6},
    "dbrx": {"attn_config": {"rope_theta": 500000.0, "kv_n_heads": 8, "clip_qkv": 8}},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6},
    "gpt2": {},
    "mamba": {},
    "bamba": {"attn_layer_indices": [9, 18, 27]},
    "granitemoehybrid": {
        "layer_types": (["linear_attention"] * 5 + ["full_attention"]) * 4
        + ["linear_attention"] * 8
    },
    "zamba2": {"num_mem_blocks": 2, "use_shared_attention_adapter": True, "use_mem_rope": True},
    "nemotron_h": {"moe_latent_size": 1024, "n_routed_experts": 128},
    "rwkv": {},
    "xlstm": {},
    "lfm2_moe": {"layer_types": (["conv"] * 3 + ["full_attention"]) * 8},
    "bert": {},
    "bert-generation": {"is_decoder": True},
    "esm": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32},
    "xmod": {"languages": ["en_XX", "de_DE"], "default_language": "de_DE"},
    "t5": {"d_model": 768, "num_layers": 12, "num_heads": 12, "feed_forward_proj": "gated-gelu"},
    "whisper": {},
    "time_series_transformer": MONTHS,
    "informer": MONTHS,
    "autoformer": MONTHS,
    "vit": {},
}

PAIRS = sorted({(c.model_type, c.task, c.architecture) for c in all_cases()})

#: An encoder that is asked to continue texts says so in its config.
DECODER = {
    (model_type, "causal_lm"): {"is_decoder": True}
    for model_type, task, _ in PAIRS
    if task == "masked_lm"
}
#: An encoder on its own says that there is no decoder.
ALONE = {("t5gemma", "feature_extraction"): {"is_encoder_decoder": False}}


@pytest.mark.parametrize("model_type, task, architecture", PAIRS)
def test_names_and_shapes_are_those_of_transformers(
    model_type: str, task: str, architecture: str
) -> None:
    import transformers

    kind = getattr(transformers, architecture)
    config = kind.config_class(
        **SIZES.get(model_type, {}), **(DECODER | ALONE).get((model_type, task), {})
    )
    said, shapes = saved_shapes(architecture, config)
    # The build itself refuses a name that is missing, of another shape, or never read.
    program = build(normalise(said, "config.json"), task=task, shapes=shapes)
    assert program.parameters()


def saved_shapes(
    architecture: str, config: Any
) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """What a model of transformers would save: its config, and its tensors' names and shapes."""
    import torch
    import transformers
    from transformers.core_model_loading import revert_weight_conversion

    with torch.device("meta"):
        model = getattr(transformers, architecture)(config)
    state = revert_weight_conversion(model, model.state_dict())
    for target, source in model.all_tied_weights_keys.items():
        if source in state:
            state.pop(target, None)
    return config.to_dict(), {name: tuple(tensor.shape) for name, tensor in state.items()}
