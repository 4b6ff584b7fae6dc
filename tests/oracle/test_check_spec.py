"""`smelt specs check` says that a spec is right, or where it first goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smelt import checking
from smelt.errors import ParityError, SmeltError, SpecError
from smelt.frontend.spec.library import LIBRARY

pytest.importorskip("transformers", reason="transformers is not installed")

from tests.oracle.check_spec import main
from tests.parity.case import all_cases
from tests.parity.checkpoints import make

#: A row → one line of its spec said wrongly, and the first module that is then wrong.
MISTAKES = {
    "scale": (
        "llama-causal_lm-plain",
        "scale = head_dim ** -0.49",
        "model.layers.0.self_attn.o_proj (Linear)",
    ),
    "norm": (
        "qwen3-causal_lm-plain",
        "def norm(x):\n    return rms_norm(x, eps=config.rms_norm_eps + 0.01)",
        "model.layers.0.input_layernorm (Qwen3RMSNorm)",
    ),
    "activation": (
        "gpt2-causal_lm-plain",
        "act = 'gelu' if config.activation_function else None",
        "transformer.h.0.mlp.c_proj (Conv1D)",
    ),
    "bucket": (
        "t5-seq2seq_lm-plain",
        "furthest = config.relative_attention_max_distance - 1",
        "decoder.block.0.layer.0.SelfAttention.o (Linear)",
    ),
    "after the last module": (
        "gemma2-causal_lm-plain",
        "logit_softcap = config.final_logit_softcapping + 5",
        None,
    ),
    "delta": (
        "mamba-causal_lm-plain",
        "def softplus(x):\n    return relu(x)",
        "backbone.layers.0.mixer.out_proj (Linear)",
    ),
    "post norm": (
        "bert-masked_lm-plain",
        "act = 'relu' if config.hidden_act else None",
        "bert.encoder.layer.0.intermediate (BertIntermediate)",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_first_wrong_layer_is_named(name: str, tmp_path: Path) -> None:
    row, mistake, place = MISTAKES[name]
    case = next(c for c in all_cases() if c.id == row)
    spec = tmp_path / "wrong.arch"
    spec.write_text(f'"""Wrong."""\nextends("{case.model_type}")\n{mistake}\n', encoding="utf-8")
    with pytest.raises(ParityError) as caught:
        main([str(spec), "--type", case.model_type, "--task", case.task, "-k", case.name])
    assert caught.value.place == place


def test_a_spec_that_is_right_passes_every_tier(capsys: pytest.CaptureFixture[str]) -> None:
    main([str(LIBRARY / "qwen2.arch"), "-k", "odd-heads"])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("tier 0  qwen2.arch parses, extends llama; tasks: causal_lm")
    assert said[1] == "tier 1  5 configs build, and the programs survive printing and parsing"
    assert said[2].startswith("tier 2  names and shapes are those of Qwen2ForCausalLM")
    assert said[3] == "tier 3  qwen2-causal_lm-odd-heads: 33 calls, and 6 slots of state agree"
    assert len(said) == 8


def test_a_config_or_a_checkpoint_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = next(c for c in all_cases() if c.id == "mistral-causal_lm-short-window")
    directory = make(case).directory
    spec = tmp_path / "mine.arch"
    spec.write_text((LIBRARY / "mistral.arch").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(SpecError, match=r"no rows of tests/parity/cases are for `mine`"):
        main([str(spec)])
    main([str(spec), "--config", str(directory / "config.json")])
    main([str(spec), "--checkpoint", str(directory)])
    assert capsys.readouterr().out.count("tier 3") == 2
    large = json.loads((directory / "config.json").read_text()) | {"intermediate_size": 10_000_000}
    (tmp_path / "config.json").write_text(json.dumps(large))
    with pytest.raises(SmeltError, match="parameters are many for random weights"):
        main([str(spec), "--config", str(tmp_path / "config.json")])


def test_without_a_clone_it_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "LIBRARY", tmp_path / "model_specs")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SmeltError, match="only a clone"):
        checking.clone()


def test_the_command_finds_the_oracle(capfd: pytest.CaptureFixture[str]) -> None:
    found = checking.check_spec(LIBRARY / "arcee.arch", task="causal_lm", word="plain")
    said = capfd.readouterr()
    assert found == 0, said.err
    assert "agree" in said.out
