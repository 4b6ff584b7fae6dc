"""Hidden states as outputs: what they are equal to, and models that cannot give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smelt
from smelt.errors import SmeltError
from smelt.frontend.build import build
from tests import tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("target", ["torch", "onnx", "edge"])
def test_states_of_all_layers_equal_transformers(tmp_path: Path, target: str) -> None:
    folder = tiny.llama(tmp_path / "in", num_hidden_layers=3)
    model = transformers.LlamaForCausalLM.from_pretrained(folder).eval()
    made = smelt.compile(folder, target=target, out=tmp_path / "out", hidden="all")
    certificate = made.manifest.certificate
    assert certificate is not None and certificate.status == "passed"
    assert made.manifest.hidden is not None and made.manifest.hidden.layers == 3
    ids = [[3, 14, 15, 92, 65]]
    with torch.no_grad():
        wanted = model(torch.tensor(ids), output_hidden_states=True)
        early = model.lm_head(wanted.hidden_states[1])
    session = smelt.open(tmp_path / "out")
    first, rest = session.run(input_ids=[ids[0][:3]]), session.run(input_ids=[ids[0][3:]])
    found = {name: np.concatenate([first[name], rest[name]], axis=1) for name in first}
    layers = torch.cat(wanted.hidden_states[:-1], dim=-1).numpy()
    largest = float(np.abs(layers).max())
    assert np.allclose(found["hidden"], wanted.hidden_states[-1].numpy(), atol=1e-4 * largest)
    assert np.allclose(found["layers"], layers, atol=1e-4 * largest)
    logits = session.engine.call("head", {"hidden": found["layers"][:, :, 40:80].copy()})["logits"]
    assert np.allclose(logits, early.numpy(), atol=1e-4 * float(early.abs().max()))
    assert session.engine.past == 5


@pytest.mark.parametrize(
    ("target", "quant"), [("edge", "int4,group=16"), ("onnx", "int8,group=16")]
)
def test_quantized_artifacts_give_them_too(tmp_path: Path, target: str, quant: str) -> None:
    sizes = {"hidden_size": 48, "num_attention_heads": 3, "head_dim": 16, "intermediate_size": 64}
    folder = tiny.llama(tmp_path / "in", **sizes)
    made = smelt.compile(
        folder, target=target, out=tmp_path / "out", quant=quant, hidden="all", context=64
    )
    certificate = made.manifest.certificate
    assert certificate is not None and certificate.status == "passed"
    assert certificate.distribution is not None and certificate.distribution.tokens == 56
    session = smelt.open(tmp_path / "out")
    given: dict[str, Any] = {"ids": [[3, 4, 5], [7]], "max_new_tokens": 5, "eos": ()}
    for options in ({"dola_layers": "high"}, {"penalty_alpha": 0.6, "top_k": 4}):
        found = session.generate(**given, **options).wait()
        alone = session.generate(**{**given, "ids": [7]}, **options).wait()
        assert found.completions[1].ids == alone.ids and len(alone.ids) == 5


def told_of(kind: str, **sizes: Any) -> dict[str, Any]:
    config = getattr(transformers, f"{kind}Config")(vocab_size=99, **sizes)
    found: dict[str, Any] = config.to_dict()
    return found


BERT: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "is_decoder": True,
}
T5: dict[str, Any] = {"d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 3}


@pytest.mark.parametrize(
    ("kind", "sizes", "architecture", "hidden", "message"),
    [
        ("Bert", BERT, "BertLMHeadModel", "last", "has layers of its own before the vocabulary"),
        ("Bert", BERT, "BertLMHeadModel", "some", "want one of last, all"),
        ("Bert", BERT, "BertForMaskedLM", "last", "this one is not"),
        ("T5", T5, "T5ForConditionalGeneration", "all", "outputs of decoders alone"),
    ],
    ids=["own-head", "kind", "no-state", "pair"],
)
def test_models_without_plain_hidden_states_say_so(
    kind: str, sizes: dict[str, Any], architecture: str, hidden: str, message: str
) -> None:
    with pytest.raises(SmeltError, match=message):
        build(told_of(kind, **sizes) | {"architectures": [architecture]}, hidden=hidden)


def test_an_encoder_and_decoder_gives_the_last_states() -> None:
    told = told_of("T5", **T5) | {"architectures": ["T5ForConditionalGeneration"]}
    program = build(told, hidden="last")
    assert [name for name, _ in program.functions["decoder"].outputs] == ["logits", "hidden"]
