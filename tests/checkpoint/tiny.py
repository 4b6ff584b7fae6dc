"""Tiny checkpoints for the tests, written by the formats' own libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import quantize

LAYERS, HIDDEN, FFN, HEADS, GROUPS, HEAD, WORDS = 2, 256, 512, 4, 2, 64, 300

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "rope_theta": 10000.0}


def arrays(seed: int = 0) -> dict[str, Any]:
    """A few tensors of several dtypes and ranks."""
    rng = np.random.default_rng(seed)
    return {
        "a.weight": rng.normal(size=(6, 8)).astype(np.float32),
        "b.weight": rng.normal(size=(3, 5)).astype(ml_dtypes.bfloat16),
        "c.bias": rng.normal(size=7).astype(np.float16),
        "d.steps": np.arange(4),
        "e.mask": np.array([True, False, True]),
        "f.scalar": np.array(2.5, np.float32),
        "g.empty": np.empty((0, 4), np.float32),
    }


def write_config(folder: Path, **keys: Any) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **keys}))


def write_safetensors(folder: Path, name: str = "model.safetensors", seed: int = 0) -> Path:
    from safetensors.numpy import save_file

    write_config(folder)
    save_file(arrays(seed), folder / name)
    return folder / name


def gguf_tensors(arch: str, experts: int = 0, head: int = HEAD) -> dict[str, Any]:
    """Random tensors of a two-layer model under GGUF's names."""
    rng = np.random.default_rng(1)

    def values(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    found = {"token_embd.weight": values(WORDS, HIDDEN), "output_norm.weight": values(HIDDEN)}
    for layer in range(LAYERS):
        rows = {
            "attn_norm.weight": (HIDDEN,),
            "ffn_norm.weight": (HIDDEN,),
            "attn_q.weight": (HEADS * head, HIDDEN),
            "attn_k.weight": (GROUPS * head, HIDDEN),
            "attn_v.weight": (GROUPS * head, HIDDEN),
            "attn_output.weight": (HIDDEN, HEADS * head),
        }
        if arch == "qwen2":
            rows |= {
                "attn_q.bias": (HEADS * head,),
                "attn_k.bias": (GROUPS * head,),
                "attn_v.bias": (GROUPS * head,),
            }
        if arch in ("qwen3", "qwen3moe", "gemma3"):
            rows |= {"attn_q_norm.weight": (head,), "attn_k_norm.weight": (head,)}
        if arch in ("gemma2", "gemma3"):
            rows |= {"post_attention_norm.weight": (HIDDEN,), "post_ffw_norm.weight": (HIDDEN,)}
        if experts:
            rows |= {
                "ffn_gate_inp.weight": (experts, HIDDEN),
                "ffn_gate_exps.weight": (experts, FFN, HIDDEN),
                "ffn_up_exps.weight": (experts, FFN, HIDDEN),
                "ffn_down_exps.weight": (experts, HIDDEN, FFN),
            }
        else:
            rows |= {
                "ffn_gate.weight": (FFN, HIDDEN),
                "ffn_up.weight": (FFN, HIDDEN),
                "ffn_down.weight": (HIDDEN, FFN),
            }
        found |= {f"blk.{layer}.{name}": values(*shape) for name, shape in rows.items()}
    return found


def write_gguf(
    path: Path,
    arch: str = "llama",
    *,
    encoding: GGMLQuantizationType = GGMLQuantizationType.F32,
    experts: int = 0,
    head: int = HEAD,
    tensors: dict[str, Any] | None = None,
    keys: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a two-layer GGUF model, matrices in one encoding; its values as the file has them."""
    writer = GGUFWriter(path, arch)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(20000.0)
    writer.add_key_length(head)
    writer.add_value_length(head)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    for key, value in (keys or {}).items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        writer.add_string(key, value) if isinstance(value, str) else add(key, value)
    add_tokenizer(writer)
    found = gguf_tensors(arch, experts, head) if tensors is None else tensors
    for name, values in found.items():
        if values.ndim < 2 or encoding == GGMLQuantizationType.F32:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, quantize(values, encoding), raw_dtype=encoding)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return found


def add_tokenizer(writer: GGUFWriter) -> None:
    """A byte-level vocabulary: the 256 bytes, a few merges, and special tokens up to `WORDS`."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = [bytes_to_unicode()[byte] for byte in range(256)]
    merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r"]
    words = [*letters, *(merge.replace(" ", "") for merge in merges)]
    special = [f"<|{index}|>" for index in range(WORDS - len(words))]
    kinds = [TokenType.NORMAL] * len(words) + [TokenType.CONTROL] * len(special)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*words, *special])
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(len(words))
    writer.add_eos_token_id(len(words) + 1)
    writer.add_chat_template("{{ messages[0].content }}")
