"""Tiny random checkpoints made by `transformers`, for tests that need any model at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def llama(folder: Path, **changes: Any) -> Path:
    """A two-layer Llama with odd sizes, random norms too; written with `save_pretrained`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {
        "hidden_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 5,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "vocab_size": 99,
        "intermediate_size": 72,
        "max_position_embeddings": 128,
    }
    torch.manual_seed(3)
    model = LlamaForCausalLM(LlamaConfig(**(sizes | changes)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.2)
    model.save_pretrained(folder)
    return folder


def gpt2(folder: Path, **changes: Any) -> Path:
    """A two-layer GPT-2 with odd sizes; written with `save_pretrained`."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": 36, "n_layer": 2, "n_head": 3, "vocab_size": 101, "n_positions": 128}
    torch.manual_seed(3)
    model = GPT2LMHeadModel(GPT2Config(**(sizes | changes)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.2)
    model.save_pretrained(folder)
    return folder


def bert(folder: Path, **changes: Any) -> Path:
    """A three-layer BERT encoder with odd sizes; written with `save_pretrained`."""
    import torch
    from transformers import BertConfig, BertModel

    sizes = {
        "vocab_size": 99,
        "hidden_size": 36,
        "intermediate_size": 50,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
    }
    torch.manual_seed(3)
    BertModel(BertConfig(**(sizes | changes))).save_pretrained(folder)
    return folder
