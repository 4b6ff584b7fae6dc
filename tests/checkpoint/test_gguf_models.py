"""Each row of model_specs/gguf.toml: a tiny model of transformers, written as llama.cpp writes it,
is the same tensors and the same program. Names are those of the gguf package's own tables.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smelt.frontend.build import build
from smelt.frontend.checkpoint import open_checkpoint
from smelt.frontend.checkpoint.gguf_models import ARCHITECTURES
from smelt.ir.printer import print_program
from tests.checkpoint.tiny import add_tokenizer
from tests.parity.case import Case, all_cases
from tests.parity.checkpoints import make

gguf = pytest.importorskip("gguf", reason="gguf is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

Array = np.ndarray[Any, Any]

#: What a file cannot say, or a converter refuses: changes of the type's first row.
CHANGES: dict[str, dict[str, Any]] = {
    "cohere": {"use_qk_norm": True},
    "falcon": {
        "new_decoder_architecture": False,
        "multi_query": True,
        "parallel_attn": True,
        "bias": False,
        "alibi": False,
    },
    "gpt_bigcode": {"multi_query": True},
    "dots1": {"sliding_window": None, "layer_types": None, "n_group": 1, "topk_group": 1},
    "cohere2": {"layer_types": ["sliding_attention"] * 2, "num_hidden_layers": 2},
    "gemma2": {"query_pre_attn_scalar": 10, "head_dim": 10},
    "gemma3_text": {
        "query_pre_attn_scalar": 10,
        "head_dim": 10,
        "layer_types": ["sliding_attention"] * 2,
        "num_hidden_layers": 2,
    },
    "exaone4": {
        "sliding_window": None,
        "layer_types": ["full_attention"] * 2,
        "num_hidden_layers": 2,
    },
    "exaone4+window": {
        "sliding_window": 5,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "qwen3_moe": {"norm_topk_prob": True},
    "stablelm": {"qk_layernorm": False},
    "phi": {"qk_layernorm": False},
    "starcoder2": {"sliding_window": None, "use_bias": True},
}


def case_of(name: str) -> Case:
    row = ARCHITECTURES[name]
    rows = (c for c in all_cases() if c.model_type == row.type and c.task == "causal_lm")
    first = next(rows)
    config = {**first.config, **CHANGES.get(row.type, {}), **CHANGES.get(name, {})}
    return Case(row.type, "causal_lm", row.architecture, f"gguf-{name}", config)


def permuted(values: Array, heads: int) -> Array:
    """llama.cpp's order of the rows of q and k."""
    parts = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return parts.swapaxes(1, 2).reshape(values.shape)


def regrouped(values: Array, heads: int) -> Array:
    """q, k and v of each head become all of q, all of k, all of v."""
    parts = values.reshape(heads, 3, values.shape[0] // heads // 3, -1)
    return np.concatenate([parts[:, i].reshape(-1, *values.shape[1:]) for i in range(3)])


def as_it_is(name: str, values: Array, config: dict[str, Any]) -> Array:
    return values


def llama(name: str, values: Array, config: dict[str, Any]) -> Array:
    for part, key in ((".q_proj.", "num_attention_heads"), (".k_proj.", "num_key_value_heads")):
        if part in name:
            return permuted(values, config.get(key) or config["num_attention_heads"])
    return values


def plus_one(name: str, values: Array, config: dict[str, Any]) -> Array:
    return values + 1 if name.endswith("norm.weight") else values


def gpt2(name: str, values: Array, config: dict[str, Any]) -> Array:
    linears = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")
    return values.T if name.endswith(linears) else values


def by_head(name: str, values: Array, config: dict[str, Any]) -> Array:
    heads: int = config.get("n_head") or config["num_attention_heads"]
    return regrouped(values, heads) if ".query_key_value." in name else values


def mamba(name: str, values: Array, config: dict[str, Any]) -> Array:
    if name.endswith("A_log"):
        return -np.exp(values)
    return values.squeeze() if name.endswith("conv1d.weight") else values


def mamba2(name: str, values: Array, config: dict[str, Any]) -> Array:
    if name.endswith((".A_log", ".D")):
        return mamba(name, values, config).reshape(-1, 1)
    grouped = (config["n_groups"], -1)
    return values.reshape(grouped) if ".mixer.norm." in name else mamba(name, values, config)


#: What llama.cpp's converter does to tensors, by architecture.
WRITTEN: dict[str, Callable[[str, Array, dict[str, Any]], Array]] = {
    **dict.fromkeys(("llama", "llama+experts", "arcee", "smollm3", "granite", "olmo"), llama),
    **dict.fromkeys(("gemma", "gemma2", "gemma3", "nemotron"), plus_one),
    **dict.fromkeys(("gptneox", "bloom"), by_head),
    "gpt2": gpt2,
    "mamba": mamba,
    "mamba+norms": mamba,
    "mamba2": mamba2,
}

#: The converter's words for a config's keys, where it has a method for each; the first key wins.
SAID: dict[str, tuple[str, ...]] = {
    "add_context_length": ("max_position_embeddings", "n_positions", "seq_length"),
    "add_embedding_length": ("hidden_size", "n_embd"),
    "add_block_count": ("num_hidden_layers", "n_layer"),
    "add_feed_forward_length": ("intermediate_size", "n_inner", "ffn_hidden_size"),
    "add_head_count": ("num_attention_heads", "n_head"),
    "add_head_count_kv": ("num_key_value_heads",),
    "add_layer_norm_rms_eps": ("rms_norm_eps",),
    "add_layer_norm_eps": ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"),
    "add_key_length": ("head_dim",),
    "add_value_length": ("head_dim",),
    "add_expert_count": (
        *("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    ),
    "add_expert_used_count": ("num_experts_per_tok", "moe_k"),
    "add_expert_feed_forward_length": ("moe_intermediate_size",),
    "add_expert_shared_feed_forward_length": ("shared_expert_intermediate_size",),
    "add_sliding_window": ("sliding_window",),
    "add_logit_scale": ("logit_scale", "logits_scaling"),
    "add_attention_scale": ("attention_multiplier",),
    "add_embedding_scale": ("embedding_multiplier",),
    "add_residual_scale": ("residual_multiplier",),
    "add_attn_logit_softcapping": ("attn_logit_softcapping",),
    "add_final_logit_softcapping": ("final_logit_softcapping",),
    "add_clamp_kqv": ("clip_qkv",),
    "add_parallel_residual": ("use_parallel_residual",),
    "add_leading_dense_block_count": ("first_k_dense_replace", "moe_layer_start_index"),
    "add_interleave_moe_layer_step": ("moe_layer_interval",),
    "add_expert_shared_count": ("n_shared_experts", "moe_num_shared_experts"),
    "add_expert_weights_scale": ("routed_scaling_factor",),
}
#: What the converter says of a state space.
MAMBA: dict[str, tuple[str, ...] | None] = {
    "add_ssm_conv_kernel": ("conv_kernel",),
    "add_ssm_inner_size": ("intermediate_size",),
    "add_ssm_state_size": ("state_size",),
    "add_ssm_time_step_rank": ("time_step_rank",),
    "add_layer_norm_rms_eps": ("layer_norm_epsilon",),
    "add_layer_norm_eps": None,
    "add_feed_forward_length": None,
}
#: What the converter of an architecture says differently, or leaves out (None).
OTHERWISE: dict[str, dict[str, tuple[str, ...] | None]] = {
    "dots1": {"add_expert_weights_norm": ("norm_topk_prob",), "add_sliding_window": None},
    "minimax-m2": {"add_expert_feed_forward_length": ("intermediate_size",)},
    "qwen2": {"add_sliding_window": None},
    "qwen3": {"add_sliding_window": None},
    "qwen2moe": {"add_sliding_window": None},
    "qwen3moe": {"add_sliding_window": None},
    "llama": {"add_sliding_window": None},
    "llama+experts": {"add_sliding_window": None},
    "smollm3": {"add_sliding_window": None},
    "granite": {"add_key_length": None, "add_value_length": None},
    "falcon": {"add_feed_forward_length": ("ffn_hidden_size",)},
    "mamba": MAMBA,
    "mamba+norms": MAMBA,
    "mamba2": {
        **MAMBA,
        "add_ssm_time_step_rank": ("num_heads",),
        "add_ssm_group_count": ("n_groups",),
        "add_key_length": None,
        "add_value_length": None,
    },
}
SIGMOIDS = ("dots1", "minimax-m2")
PATTERNED = ("olmo2+window", "exaone4+window")


def write(path: Path, name: str, config: dict[str, Any], tensors: dict[str, Array]) -> None:
    """A GGUF file as llama.cpp's converter would write it."""
    arch = name.partition("+")[0]
    kind = next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == arch)
    layers = config.get("num_hidden_layers") or config["n_layer"]
    names = gguf.get_tensor_name_map(kind, layers)
    writer = gguf.GGUFWriter(path, arch)
    for method, keys in (SAID | OTHERWISE.get(name, {})).items():
        value = next((config[k] for k in keys or () if config.get(k) is not None), None)
        if value is not None:
            getattr(writer, method)(value)
    if config.get("rope_parameters"):
        rope = config["rope_parameters"]
        rope = rope.get("full_attention", rope)
        writer.add_rope_freq_base(rope["rope_theta"])
        heads = config["num_attention_heads"]
        width = config.get("head_dim") or config["hidden_size"] // heads
        writer.add_rope_dimension_count(int(width * rope.get("partial_rotary_factor", 1.0)))
    if name in PATTERNED:
        kinds = [kind == "sliding_attention" for kind in config["layer_types"]]
        writer.add_sliding_window_pattern(kinds)
    if name == "mamba2":
        writer.add_ssm_inner_size(config["num_heads"] * config["head_dim"])
    if name == "mamba+norms":
        writer.add_ssm_dt_b_c_rms(True)
    if name in SIGMOIDS:
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    add_tokenizer(writer)
    change = WRITTEN.get(name, as_it_is)
    stacks: dict[str, list[Array]] = {}
    for tensor, values in tensors.items():
        values = np.ascontiguousarray(change(tensor, values, config))
        tensor = tensor.replace(".mixer.dt_bias", ".mixer.dt_proj.bias")
        tensor = tensor.replace("e_score_correction_bias", "e_score_correction.bias")
        before, found, after = tensor.partition(".experts.")
        if found:
            stacks.setdefault(f"{before}.experts.{after.partition('.')[2]}", []).append(values)
            continue
        known = names.get_name(tensor, (".weight", ".bias"))
        known = known or names.get_name(tensor.removeprefix("transformer."), (".weight", ".bias"))
        assert known, f"gguf has no name for {tensor}"
        writer.add_tensor(known, values)
    for tensor, parts in stacks.items():
        mixtral = tensor.replace("model.", "").replace("block_sparse_moe", "feed_forward")
        known = names.get_name(tensor, (".weight",)) or names.get_name(mixtral, (".weight",))
        assert known, f"gguf has no name for {tensor}"
        writer.add_tensor(known, np.stack(parts))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_file_of_llama_cpp_is_the_same_model(name: str, tmp_path: Path) -> None:
    wanted = open_checkpoint(make(case_of(name)).directory)
    tensors = {tensor: wanted.read(tensor) for tensor in wanted.tensors}
    write(tmp_path / "m.gguf", name, dict(wanted.config), tensors)
    found = open_checkpoint(tmp_path / "m.gguf")
    assert set(found.tensors) == set(tensors)
    for tensor, values in tensors.items():
        assert found.tensors[tensor].shape == values.shape, tensor
        assert np.allclose(found.read(tensor), values, rtol=1e-6, atol=1e-6), tensor
    programs = [
        print_program(
            build(
                checkpoint.config,
                task="causal_lm",
                shapes={name: info.shape for name, info in checkpoint.tensors.items()},
            )
        )
        for checkpoint in (found, wanted)
    ]
    assert programs[0] == programs[1]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_keys_are_those_of_gguf(name: str) -> None:
    known = {
        value.replace("{arch}.", "")
        for group in (gguf.Keys.LLM, gguf.Keys.Attention, gguf.Keys.Rope, gguf.Keys.SSM)
        for key, value in vars(group).items()
        if isinstance(value, str) and not key.startswith("_")
    }
    assert set(ARCHITECTURES[name].keys) <= known
