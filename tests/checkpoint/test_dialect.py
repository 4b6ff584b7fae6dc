"""config.json: both dialects become the one that transformers 5 makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smelt.errors import CheckpointError
from smelt.frontend.checkpoint.dialect import normalise

YARN = {"factor": 4.0, "original_max_position_embeddings": 32768}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}

#: configs as transformers 4 wrote them
OLD: dict[str, dict[str, Any]] = {
    "plain": {"model_type": "llama", "rope_theta": 5e5},
    "null scaling": {"model_type": "llama", "rope_theta": 1e4, "rope_scaling": None},
    "linear": {
        "model_type": "llama",
        "rope_theta": 1e4,
        "rope_scaling": {"type": "linear", "factor": 2.0},
    },
    "dynamic": {
        "model_type": "llama",
        "rope_theta": 1e4,
        "rope_scaling": {"type": "dynamic", "factor": 2.0},
    },
    "llama3": {
        "model_type": "llama",
        "rope_theta": 5e5,
        "max_position_embeddings": 131072,
        "rope_scaling": LLAMA3,
    },
    "yarn": {
        "model_type": "qwen2",
        "rope_theta": 1e6,
        "max_position_embeddings": 32768,
        "rope_scaling": {"type": "yarn", **YARN},
    },
    "yarn without its origin": {
        "model_type": "qwen2",
        "rope_theta": 1e6,
        "max_position_embeddings": 32768,
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0},
    },
    "mistral": {"model_type": "mistral", "rope_theta": 1e4},
    "mixtral": {"model_type": "mixtral", "rope_theta": 1e6},
    "qwen3": {"model_type": "qwen3", "rope_theta": 1e6},
    "gemma2": {"model_type": "gemma2", "rope_theta": 1e4},
    "gemma3": {
        "model_type": "gemma3_text",
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "gemma3 that says nothing": {"model_type": "gemma3_text"},
    "modernbert": {"model_type": "modernbert", "global_rope_theta": 16e4, "local_rope_theta": 1e4},
    "olmo3": {
        "model_type": "olmo3",
        "rope_theta": 5e5,
        "max_position_embeddings": 65536,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 8.0,
            "original_max_position_embeddings": 8192,
        },
    },
    "gpt_neox": {"model_type": "gpt_neox", "rotary_emb_base": 10000, "rotary_pct": 0.25},
    "phi": {"model_type": "phi", "rope_theta": 1e4, "partial_rotary_factor": 0.4},
    "stablelm": {"model_type": "stablelm", "rope_theta": 1e4, "partial_rotary_factor": 0.25},
    "glm4": {"model_type": "glm4", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
    "deepseek_v3": {
        "model_type": "deepseek_v3",
        "rope_theta": 1e4,
        "max_position_embeddings": 163840,
        "rope_scaling": {"type": "yarn", "mscale": 1.0, "mscale_all_dim": 1.0, **YARN},
    },
    "bert": {"model_type": "bert"},
}


@pytest.mark.parametrize("case", OLD)
def test_old_configs_become_what_transformers_makes_of_them(tmp_path: Path, case: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    (tmp_path / "config.json").write_text(json.dumps(OLD[case]))
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    wanted = getattr(config, "rope_parameters", None)
    if wanted:
        wanted.pop("type", None)
    found = normalise(OLD[case], case)
    assert found.get("rope_parameters") == wanted
    gone = {"rope_theta", "rope_scaling", "rope_local_base_freq", "partial_rotary_factor"}
    assert not gone & set(found)


@pytest.mark.parametrize("case", OLD)
def test_a_normal_config_stays_as_it_is(case: str) -> None:
    once = normalise(OLD[case], case)
    assert normalise(once, case) == once


@pytest.mark.parametrize("case", OLD)
def test_configs_saved_by_transformers_5_stay_as_they_are(tmp_path: Path, case: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    (tmp_path / "config.json").write_text(json.dumps(OLD[case]))
    transformers.AutoConfig.from_pretrained(tmp_path).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    found = normalise(saved, case)
    (saved.get("rope_parameters") or {}).pop("type", None)
    assert found == saved


def test_parts_of_a_model_are_normalised_too() -> None:
    found = normalise({"model_type": "gemma3", "text_config": OLD["gemma3"]}, "x")
    assert found["text_config"]["rope_parameters"]["full_attention"]["factor"] == 8.0


def test_phi3s_old_names_of_longrope() -> None:
    scaling = {"type": "su", "short_factor": [1.0], "long_factor": [2.0]}
    old = {"model_type": "phi3", "rope_scaling": scaling, "original_max_position_embeddings": 4096}
    found = normalise(old, "x")["rope_parameters"]
    assert found["rope_type"] == "longrope"
    assert found["original_max_position_embeddings"] == 4096


def test_other_keys_are_kept_and_null_stays_null() -> None:
    found = normalise({"model_type": "llama", "head_dim": None, "torch_dtype": "float16"}, "x")
    assert found == {"model_type": "llama", "head_dim": None, "dtype": "float16"}


def test_the_given_config_is_not_changed() -> None:
    given = {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2.0}}
    normalise(given, "x")["rope_parameters"]["factor"] = 3.0
    assert given == {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2.0}}


def test_nonsense_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"text_config": deep}
    for config in (deep, {"rope_scaling": [1]}, {"rope_scaling": {"type": 3}}):
        with pytest.raises(CheckpointError):
            normalise(config, "x")
