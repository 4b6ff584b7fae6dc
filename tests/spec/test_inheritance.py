"""A variant is its difference: what a child defines holds everywhere."""

from __future__ import annotations

from collections import Counter

import pytest

from smelt.errors import SmeltError, UnsupportedError
from smelt.frontend.build import build
from smelt.frontend.layers.registry import LAYERS
from smelt.frontend.spec import library
from smelt.ir.program import Program
from tests.spec.texts import CONFIG, LLAMA, TINY, build_text


def ops(program: Program) -> Counter[str]:
    return Counter(node.op.name for node in program.nodes())


def test_a_child_changes_what_its_parents_call() -> None:
    child = 'extends("llama")\ndef norm(x):\n    return layer_norm(x, eps=config.rms_norm_eps)\n'
    program = build_text(child, LLAMA, task="causal_lm")
    assert ops(program)["layer_norm"] == 5
    assert "rms_norm" not in ops(program)
    assert "model.layers.1.input_layernorm.bias" in program.parameters()


def test_a_child_changes_a_value_that_a_parent_uses() -> None:
    plain = build(LLAMA, task="causal_lm")
    biased = build_text('extends("llama")\nqkv_bias = True\n', LLAMA, task="causal_lm")
    added = biased.parameters().keys() - plain.parameters().keys()
    assert added == {
        f"model.layers.{i}.self_attn.{name}_proj.bias" for i in (0, 1) for name in "qkv"
    }


def test_later_parents_win() -> None:
    text = 'extends("gpt2")\nextends("llama")\n'
    names = build_text(text, LLAMA, task="causal_lm").parameters()
    assert "model.layers.0.self_attn.q_proj.weight" in names
    assert not any("c_attn" in name for name in names)


def test_grandparents_are_found() -> None:
    text = 'extends("qwen3")\ndef key_norm(x):\n    return x\n'
    names = build_text(text, {**LLAMA, "head_dim": 4}, task="causal_lm").parameters()
    assert "model.layers.0.self_attn.q_norm.weight" in names
    assert "model.layers.0.self_attn.k_norm.weight" not in names


def test_functions_of_a_task_share_parameters_and_state() -> None:
    program = build(
        {
            "model_type": "t5",
            "d_model": 6,
            "d_kv": 2,
            "d_ff": 8,
            "num_layers": 1,
            "num_heads": 3,
            "vocab_size": 9,
        },
        task="seq2seq_lm",
    )
    written = {slot for slot, _ in program.functions["encoder"].writes}
    read = {n.attr("slot") for n in program.functions["decoder"].nodes() if n.op.name == "read"}
    assert written == read != set()
    kinds = {slot.name.rpartition(".")[2]: slot.kind for slot in program.slots.values()}
    assert kinds == {
        "key": "append",
        "value": "append",
        "cross_key": "replace",
        "cross_value": "replace",
    }


@pytest.mark.parametrize(
    "model_type, key, value",
    [
        ("llama", "sliding_window", 8),
        ("llama", "final_logit_softcapping", 30.0),
        ("llama", "quantization_config", {"bits": 4}),
        ("mistral", "attn_logit_softcapping", 50.0),
        ("qwen2", "num_experts", 4),
        ("gemma2", "use_bidirectional_attention", True),
        ("gpt2", "add_cross_attention", True),
    ],
)
def test_a_key_that_changes_meaning_is_read_or_refused(
    model_type: str, key: str, value: object
) -> None:
    config = {**LLAMA, "model_type": model_type, key: value, "head_dim": 4}
    if model_type == "gpt2":
        sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 9, "vocab_size": 5}
        config = {"model_type": model_type, key: value, **sizes}
    with pytest.raises(UnsupportedError, match=key):
        build(config, task="causal_lm")


def test_a_key_that_changes_nothing_passes() -> None:
    build(
        {**LLAMA, "torch_dtype": "bfloat16", "use_cache": True, "sliding_window": None},
        task="causal_lm",
    )


def test_a_required_value_is_required() -> None:
    text = 'requires = (("kind", "plain"),)\n' + TINY
    build_text(text, {**CONFIG, "kind": "plain"})
    build_text(text, CONFIG)
    with pytest.raises(UnsupportedError, match="`kind` is 'other', the spec supports 'plain'"):
        build_text(text, {**CONFIG, "kind": "other"})


def test_the_task_comes_from_architectures() -> None:
    for architecture, task in {
        "LlamaForCausalLM": "causal_lm",
        "LlamaModel": "feature_extraction",
        "LlamaForSequenceClassification": "sequence_classification",
    }.items():
        assert build({**LLAMA, "architectures": [architecture]}).task == task
    with pytest.raises(SmeltError, match="choose one with --task"):
        build({**LLAMA, "architectures": ["LlamaForSomethingElse"]})
    with pytest.raises(SmeltError, match="unknown task"):
        build(LLAMA, task="poetry")
    with pytest.raises(SmeltError, match="does not define task `masked_lm`"):
        build(LLAMA, task="masked_lm")


def test_every_spec_is_a_page_or_less() -> None:
    for path in sorted(library.LIBRARY.rglob("*.arch")):
        text = path.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line.strip()]
        assert len(lines) <= 90, f"{path.name} has {len(lines)} lines"
        assert max(map(len, lines)) <= 100, f"{path.name} has a line of {max(map(len, lines))}"
        assert library.builtin(path.stem).doc, f"{path.name} does not say what it is"


def test_the_page_about_the_language_names_every_layer() -> None:
    page = (library.LIBRARY.parent / "docs" / "spec-language.md").read_text(encoding="utf-8")
    missing = [name for name in LAYERS if f"`{name}" not in page]
    assert not missing, f"docs/spec-language.md does not name {', '.join(missing)}"
