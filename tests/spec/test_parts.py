"""A model whose parts are models: each is built by the spec of its own type, and refused by it."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.errors import SpecError, UnsupportedError
from smelt.frontend.build import build
from tests.spec.texts import CONFIG, build_text

BERT: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 11,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "layer_norm_eps": 1e-12,
}
WRITES = {**BERT, "is_decoder": True, "add_cross_attention": True}
PAIR: dict[str, Any] = {"model_type": "encoder-decoder", "encoder": BERT, "decoder": WRITES}


def test_parts_have_weights_and_state_under_their_own_names() -> None:
    program = build(PAIR)
    assert "encoder.embeddings.word_embeddings.weight" in program.parameters()
    assert "decoder.bert.embeddings.word_embeddings.weight" in program.parameters()
    assert "decoder.bert.encoder.layer.1.crossattention.self.cross_key" in program.slots
    assert [t.attr("name") for t in program.functions["decoder"].inputs] == [
        "decoder_input_ids",
        "attention_mask",
    ]
    assert program.symbols["past"].high == BERT["max_position_embeddings"]


def test_widths_that_differ_are_joined() -> None:
    program = build({**PAIR, "decoder": {**WRITES, "hidden_size": 6}})
    assert program.parameters()["enc_to_dec_proj.weight"].type.shape == (6, 8)


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"decoder": {**WRITES, "model_type": "bart2"}}, "no spec for model type `bart2`"),
        ({"decoder": {**WRITES, "model_type": "t5"}}, "the spec of t5 has no function"),
        ({"decoder": {**WRITES, "is_decoder": False}}, "`decoder.is_decoder` is False"),
        ({"decoder": {**WRITES, "model_type": "megatron-bert"}}, "decoder.add_cross_attention"),
        ({"encoder": {**BERT, "logit_scale": 2.0}}, "`encoder.logit_scale` is 2.0"),
        ({"encoder": None}, "wants a nested config"),
    ],
)
def test_a_part_is_refused_by_its_own_spec(changed: dict[str, Any], said: str) -> None:
    with pytest.raises((SpecError, UnsupportedError), match=said):
        build({**PAIR, **changed})


def test_a_part_of_itself_has_an_end() -> None:
    spec = 'def causal_lm():\n    return part(config, "causal_lm", input_ids=input_ids)\n'
    with pytest.raises(SpecError, match=r"no spec for model type|nest"):
        build_text(spec)
    own = {**CONFIG, "model_type": "encoder-decoder"}
    again = "seq2seq_lm_decoder"
    spec = f'def causal_lm():\n    return part(config, "{again}", decoder_input_ids=input_ids)\n'
    with pytest.raises(SpecError):
        build_text(spec, own)
