"""GGUF: blocks, names, configs and hostile files, against the gguf package and transformers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smelt.errors import CheckpointError, SmeltError, UnsupportedError
from smelt.frontend.checkpoint import ggml_blocks as blocks
from smelt.frontend.checkpoint import open_checkpoint
from smelt.frontend.checkpoint.gguf_models import ARCHITECTURES
from tests.checkpoint.mutate import mutations, outcomes
from tests.checkpoint.tiny import GROUPS, HEAD, HEADS, HIDDEN, gguf_tensors, write_gguf

gguf = pytest.importorskip("gguf", reason="gguf is not installed")
TYPE = gguf.GGMLQuantizationType
PACKED = {number: row for number, row in blocks.ENCODINGS.items() if row.decode}


@pytest.mark.parametrize("number", PACKED, ids=lambda number: PACKED[number].name)
def test_blocks_are_decoded_to_the_last_bit(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "CHUNK", 1 << 12)
    row = PACKED[number]
    data = np.random.default_rng(number).integers(0, 256, (3000, row.nbytes), dtype=np.uint8)
    found = blocks.decode(row, memoryview(data.tobytes()), (3000, row.size))
    with np.errstate(all="ignore"):
        wanted = gguf.quants.dequantize(data, TYPE(number))
    same = (found.view(np.uint32) == wanted.view(np.uint32)) | (np.isnan(found) & np.isnan(wanted))
    assert same.all()


@pytest.mark.parametrize("number", blocks.ENCODINGS, ids=lambda n: blocks.ENCODINGS[n].name)
def test_block_sizes_are_ggmls(number: int) -> None:
    row = blocks.ENCODINGS[number]
    assert gguf.GGML_QUANT_SIZES[TYPE(number)] == (row.size, row.nbytes)
    assert TYPE(number).name.lower() == row.name


def test_unread_types_are_named_as_ggml_names_them() -> None:
    assert all(TYPE(number).name.lower() == name for number, name in blocks.UNREAD.items())


#: GGUF architecture → width of its heads (transformers takes qwen3's to be 128)
ORACLE = {"llama": HEAD, "qwen2": HEAD, "qwen3": 128, "gemma2": HEAD, "gemma3": HEAD}
COMPARED = (
    *("model_type", "hidden_size", "num_hidden_layers", "intermediate_size", "rms_norm_eps"),
    *("num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"),
    *("vocab_size", "tie_word_embeddings", "bos_token_id", "eos_token_id"),
)


@pytest.mark.parametrize("arch", ORACLE)
def test_names_values_and_config_are_those_of_transformers(tmp_path: Path, arch: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    write_gguf(tmp_path / "m.gguf", arch, head=ORACLE[arch], keys=KEYS.get(arch))
    wanted = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="m.gguf", dtype=torch.float32
    )
    checkpoint = open_checkpoint(tmp_path / "m.gguf")
    tensors = dict(wanted.state_dict())
    tensors.pop("lm_head.weight")  # tied
    assert set(checkpoint.tensors) == set(tensors)
    for name, value in tensors.items():
        found = checkpoint.read(name)
        assert found.shape == checkpoint.tensors[name].shape
        assert np.allclose(found, value.numpy(), rtol=0, atol=1e-6), name
    for key in COMPARED:
        ours = checkpoint.config[key]
        theirs = getattr(wanted.config, key, ours)
        assert theirs == pytest.approx(ours) if isinstance(ours, float) else theirs == ours, key


KEYS: dict[str, dict[str, Any]] = {
    "gemma2": {
        "gemma2.attention.sliding_window": 128,
        "gemma2.attn_logit_softcapping": 50.0,
        "gemma2.final_logit_softcapping": 30.0,
    },
    "gemma3": {"gemma3.attention.sliding_window": 128},
}


def test_llamas_rows_are_put_back(tmp_path: Path) -> None:
    raw = write_gguf(tmp_path / "m.gguf")
    checkpoint = open_checkpoint(tmp_path)
    for part, heads in (("q", HEADS), ("k", GROUPS)):
        stored = raw[f"blk.1.attn_{part}.weight"]
        found = checkpoint.read(f"model.layers.1.self_attn.{part}_proj.weight")
        for head in range(heads):
            rows = slice(head * HEAD, (head + 1) * HEAD)
            assert np.array_equal(found[rows][: HEAD // 2], stored[rows][0::2])
            assert np.array_equal(found[rows][HEAD // 2 :], stored[rows][1::2])


@pytest.mark.parametrize(
    "arch, model, name",
    [
        ("llama", "mixtral", "block_sparse_moe.experts.2.w2.weight"),
        ("qwen3moe", "qwen3_moe", "mlp.experts.2.down_proj.weight"),
    ],
)
def test_fused_experts_are_listed_one_by_one(
    tmp_path: Path, arch: str, model: str, name: str
) -> None:
    raw = write_gguf(tmp_path / "m.gguf", arch, encoding=TYPE.Q8_0, experts=4)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.config["model_type"] == model
    assert checkpoint.config["num_experts_per_tok"] == 2
    fused = gguf.quants.quantize(raw["blk.1.ffn_down_exps.weight"], TYPE.Q8_0)
    wanted = gguf.quants.dequantize(fused, TYPE.Q8_0)[2]
    info = checkpoint.tensors[f"model.layers.1.{name}"]
    assert np.array_equal(checkpoint.read(info.name), wanted)
    assert (info.dtype, info.encoding, info.nbytes) == ("f32", "q8_0", wanted.size // 32 * 34)
    assert bytes(checkpoint.stored(info.name)) == fused[2].tobytes()
    assert sum("experts" in name for name in checkpoint.tensors) == 2 * 3 * 4


def test_the_rope_table_of_llama3_becomes_its_parameters(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    wanted = {
        "rope_type": "llama3",
        "rope_theta": 20000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = transformers.LlamaConfig(
        hidden_size=HIDDEN,
        num_attention_heads=HEADS,
        head_dim=HEAD,
        max_position_embeddings=131072,
        rope_parameters=wanted,
    )
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 20000.0 ** -(np.arange(0, HEAD, 2) / HEAD)
    factors = (plain / scaled.numpy()).astype(np.float32)
    tensors = {**gguf_tensors("llama"), "rope_freqs.weight": factors}
    write_gguf(tmp_path / "m.gguf", tensors=tensors)
    checkpoint = open_checkpoint(tmp_path)
    found = checkpoint.config["rope_parameters"]
    assert found.pop("factor") == pytest.approx(wanted.pop("factor"), rel=1e-5)
    assert found == wanted
    assert "rope_freqs.weight" not in checkpoint.tensors
    tensors["rope_freqs.weight"] = factors * np.linspace(1, 2, len(factors), dtype=np.float32)
    write_gguf(tmp_path / "m.gguf", tensors=tensors)
    with pytest.raises(UnsupportedError, match="not those of llama3"):
        open_checkpoint(tmp_path)


def test_yarn_and_linear_scaling(tmp_path: Path) -> None:
    yarn = {
        "llama.rope.scaling.type": "yarn",
        "llama.rope.scaling.factor": 4.0,
        "llama.rope.scaling.original_context_length": 128,
    }
    write_gguf(tmp_path / "m.gguf", keys=yarn)
    assert open_checkpoint(tmp_path).config["rope_parameters"] == {
        "rope_type": "yarn",
        "rope_theta": 20000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 128,
    }
    linear = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0}
    write_gguf(tmp_path / "m.gguf", keys=linear)
    assert open_checkpoint(tmp_path).config["rope_parameters"]["factor"] == 2.0


def test_gemma3_has_a_rope_for_each_kind_of_layer(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", "gemma3", keys=KEYS["gemma3"])
    config = open_checkpoint(tmp_path).config
    assert config["rope_parameters"]["full_attention"]["rope_theta"] == 20000.0
    assert config["rope_parameters"]["sliding_attention"]["rope_theta"] == 10000.0
    assert config["layer_types"] == ["sliding_attention"] * 2


@pytest.mark.parametrize(
    "key, value",
    [
        ("llama.logit_scale", 0.5),
        ("llama.attention.scale", 0.25),
        ("llama.rope.scaling.type", "longrope"),
        ("llama.attention.sliding_window", 64),
    ],
)
def test_a_key_that_may_change_the_meaning_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    write_gguf(tmp_path / "m.gguf", keys={key: value})
    with pytest.raises(UnsupportedError):
        open_checkpoint(tmp_path)


def test_unknown_architectures_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", "starcoder9")
    with pytest.raises(UnsupportedError, match="starcoder9") as caught:
        open_checkpoint(tmp_path)
    assert all(name in str(caught.value) for name in ARCHITECTURES)


def test_split_models_are_one_checkpoint(tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "whole.gguf")
    writer = gguf.GGUFWriter(tmp_path / "m", "llama", split_max_tensors=8)
    fields = gguf.GGUFReader(tmp_path / "whole.gguf").fields
    for name, field in fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            sub = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=sub)
    for name, value in whole.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file(tmp_path / "m.gguf")
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    one = open_checkpoint(tmp_path / "whole.gguf")
    (tmp_path / "whole.gguf").unlink()
    many = open_checkpoint(tmp_path)
    assert len({info.file for info in many.tensors.values()}) > 1
    assert set(one.tensors) == set(many.tensors)
    for name in many.tensors:
        assert np.array_equal(one.read(name), many.read(name))
    last = sorted(tmp_path.glob("*.gguf"))[-1]
    last.rename(tmp_path / "gone")
    with pytest.raises(CheckpointError, match="no file"):
        open_checkpoint(tmp_path)


def test_two_models_in_a_directory_are_a_question(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf")
    shutil.copy(tmp_path / "a.gguf", tmp_path / "b.gguf")
    with pytest.raises(CheckpointError, match=r"2 GGUF models: a\.gguf, b\.gguf"):
        open_checkpoint(tmp_path)


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


HEAD_COUNT = b"attention.head_count\4\0\0\0"  # the key and its type, u32

FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: b"",
    "the magic alone": lambda data: data[:4],
    "another magic": lambda data: b"GGML" + data[4:],
    "version 1": lambda data: data[:4] + b"\1\0\0\0" + data[8:],
    "big-endian": lambda data: data[:4] + b"\0\0\0\3" + data[8:],
    "a huge tensor count": lambda data: data[:8] + b"\xff" * 8 + data[16:],
    "a huge key count": lambda data: data[:16] + b"\xff" * 8 + data[24:],
    "half of the file": lambda data: data[: len(data) // 2],
    "all but the last byte": lambda data: data[:-1],
    "no embedding": lambda data: patched(data, b"token_embd", b"token_embx"),
    "a tensor twice": lambda data: patched(data, b"blk.1.attn_q.weight", b"blk.0.attn_q.weight"),
    "no heads": lambda data: patched(data, HEAD_COUNT + b"\4", HEAD_COUNT + b"\0"),
    "heads that do not divide": lambda data: patched(data, HEAD_COUNT + b"\4", HEAD_COUNT + b"\3"),
    "text that is not UTF-8": lambda data: patched(
        data, b"general.arch", b"general.\xff\xfe\xff\xff"
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_damaged_files_are_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path)
    path.write_bytes(FAULTS[case](path.read_bytes()))
    with pytest.raises(SmeltError) as caught:
        open_checkpoint(path)
    assert "m.gguf" in str(caught.value)


def test_mutations_are_read_or_refused(tmp_path: Path) -> None:
    names = ("token_embd", "attn_q.", "attn_k.", "_norm")
    few = {k: v for k, v in gguf_tensors("llama").items() if any(name in k for name in names)}
    write_gguf(tmp_path / "m.gguf", encoding=TYPE.Q8_0, tensors=few)
    data = (tmp_path / "m.gguf").read_bytes()
    header = data.index(b"blk.1.attn_q.weight") + 500
    counts = outcomes(tmp_path, "m.gguf", mutations(data, header, 1500))
    assert counts["read"] and counts["refused"] > counts["read"]
