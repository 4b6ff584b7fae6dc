"""Tensors of a checkpoint: each is read, or named; old names are found."""

from __future__ import annotations

import pytest

from smelt.errors import CheckpointError
from smelt.frontend.build import build
from smelt.ir.program import Program
from tests.spec.texts import LLAMA

BERT = {
    "model_type": "bert",
    "hidden_size": 6,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "vocab_size": 9,
    "type_vocab_size": 2,
    "max_position_embeddings": 12,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}


def shapes(program: Program) -> dict[str, tuple[int, ...]]:
    """The shapes of a checkpoint that a program fits."""
    return {
        name: tuple(int(str(size)) for size in node.shape)
        for name, node in program.parameters().items()
    }


def test_a_missing_tensor_is_named_with_its_shape_and_the_nearest() -> None:
    stored = shapes(build(LLAMA, task="causal_lm"))
    stored["model.layers.0.self_attn.q_proj.weights"] = stored.pop(
        "model.layers.0.self_attn.q_proj.weight"
    )
    with pytest.raises(CheckpointError) as caught:
        build(LLAMA, task="causal_lm", shapes=stored)
    text = str(caught.value)
    assert "no tensor `model.layers.0.self_attn.q_proj.weight` [8, 8]" in text
    assert "the nearest name is `model.layers.0.self_attn.q_proj.weights` [8, 8]" in text
    assert "llama.arch:" in text


def test_a_tensor_of_another_shape_gives_both_shapes() -> None:
    stored = shapes(build(LLAMA, task="causal_lm"))
    stored["model.norm.weight"] = (9,)
    with pytest.raises(CheckpointError, match=r"has shape \[9\], the spec wants \[8\]"):
        build(LLAMA, task="causal_lm", shapes=stored)


def test_an_unread_tensor_is_named_with_its_shape() -> None:
    stored = shapes(build(LLAMA, task="causal_lm"))
    stored["model.layers.0.self_attn.q_proj.bias"] = (8,)
    with pytest.raises(
        CheckpointError, match=r"never reads `model.layers.0.self_attn.q_proj.bias` \[8\]"
    ):
        build(LLAMA, task="causal_lm", shapes=stored)


def test_many_unread_tensors_are_counted() -> None:
    stored = shapes(build(LLAMA, task="causal_lm")) | {f"extra.{i}": (1,) for i in range(20)}
    with pytest.raises(CheckpointError, match="and 12 more"):
        build(LLAMA, task="causal_lm", shapes=stored)


def test_buffers_that_say_nothing_are_ignored() -> None:
    stored = shapes(build(LLAMA, task="causal_lm"))
    stored["model.layers.0.self_attn.rotary_emb.inv_freq"] = (2,)
    build(LLAMA, task="causal_lm", shapes=stored)
    stored = shapes(build(BERT, task="masked_lm")) | {"bert.embeddings.position_ids": (1, 12)}
    build(BERT, task="masked_lm", shapes=stored)


def test_a_head_of_another_task_may_be_there() -> None:
    stored = shapes(build(BERT, task="pretraining"))
    features = build(BERT, task="feature_extraction", shapes=stored)
    assert "bert.pooler.dense.weight" in features.parameters()
    build(BERT, task="masked_lm", shapes=stored)


def test_a_prefix_may_be_there_or_not() -> None:
    whole = shapes(build(LLAMA, task="causal_lm"))
    bare = {name.removeprefix("model."): shape for name, shape in whole.items()}
    assert "layers.0.mlp.up_proj.weight" in build(LLAMA, task="causal_lm", shapes=bare).parameters()
    features = build(LLAMA, task="feature_extraction", shapes=whole).parameters()
    assert "model.layers.0.mlp.up_proj.weight" in features


def test_old_names_of_norms_are_found() -> None:
    stored = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): shape
        for name, shape in shapes(build(BERT, task="masked_lm")).items()
    }
    names = build(BERT, task="masked_lm", shapes=stored).parameters()
    assert "bert.embeddings.LayerNorm.gamma" in names


def test_a_head_that_is_stored_is_used_though_config_says_tied() -> None:
    # transformers 5 does not tie two tensors that are both stored and differ; equal ones come to
    # the same.
    config = {**LLAMA, "tie_word_embeddings": True}
    stored = shapes(build(config, task="causal_lm"))
    assert "lm_head.weight" not in stored
    stored["lm_head.weight"] = (11, 8)
    assert "lm_head.weight" in build(config, task="causal_lm", shapes=stored).parameters()


def test_a_pooler_may_be_missing() -> None:
    stored = shapes(build(BERT, task="feature_extraction"))
    bare = {name: shape for name, shape in stored.items() if not name.startswith("pooler")}
    program = build(BERT, task="feature_extraction", shapes=bare)
    assert [name for name, _ in program.functions["main"].outputs] == ["last_hidden_state"]


def test_every_expert_is_looked_for() -> None:
    config = {**LLAMA, "model_type": "mixtral", "num_local_experts": 3, "num_experts_per_tok": 2}
    program = build(config, task="causal_lm")
    stored: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes(program).items():
        each = range(shape[0]) if "*" in name else (0,)
        rest = shape[1:] if "*" in name else shape
        stored |= {name.replace("*", str(i)): rest for i in each}
    build(config, task="causal_lm", shapes=stored)
    last = "model.layers.1.block_sparse_moe.experts.2.w2.weight"
    with pytest.raises(CheckpointError, match=rf"{last}` has shape \[1, 12\], the spec wants \[8"):
        build(config, task="causal_lm", shapes={**stored, last: (1, 12)})
    del stored[last]
    with pytest.raises(CheckpointError, match=f"no tensor `{last}`"):
        build(config, task="causal_lm", shapes=stored)
