"""Real checkpoints: values equal to the oracle's, little memory, quick to open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smelt.frontend.checkpoint import Checkpoint, open_checkpoint
from tests import models


def opened(fetch: Any) -> Checkpoint:
    try:
        return open_checkpoint(fetch())
    except models.ModelUnavailable as error:
        pytest.skip(str(error))


def test_gguf_values_are_those_of_its_hugging_face_form() -> None:
    packed, plain = opened(models.smollm2_gguf), opened(models.smollm2_hf)
    assert set(packed.tensors) == set(plain.tensors)
    for name in plain.tensors:
        wanted = plain.read(name)
        assert np.array_equal(packed.read(name).astype(wanted.dtype), wanted), name
        packed.release(name)
    same = ("hidden_size", "head_dim", "rope_parameters", "tie_word_embeddings", "vocab_size")
    assert {key: packed.config[key] for key in same} == {key: plain.config[key] for key in same}


def test_an_old_bin_is_read_as_torch_reads_it() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    checkpoint = opened(models.rxnmapper)
    path = checkpoint.directory / "pytorch_model.bin"
    wanted = torch.load(path, map_location="cpu", weights_only=True)
    assert set(checkpoint.tensors) == set(wanted)
    assert all(np.array_equal(checkpoint.read(name), value) for name, value in wanted.items())


def test_whisper_has_every_tensor_of_its_model() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    checkpoint = opened(models.whisper_tiny)
    config = transformers.WhisperConfig.from_pretrained(checkpoint.directory)
    with torch.device("meta"):
        model = transformers.WhisperForConditionalGeneration(config)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert wanted.pop("proj_out.weight") == wanted["model.decoder.embed_tokens.weight"]
    assert {name: info.shape for name, info in checkpoint.tensors.items()} == wanted
    assert len(models.WHISPER_LANGUAGES.split()) == 99


def test_k_quants_of_a_real_file_are_decoded() -> None:
    gguf = pytest.importorskip("gguf", reason="gguf is not installed")
    try:
        path = models.qwen_coder_gguf()
    except models.ModelUnavailable as error:
        pytest.skip(str(error))
    checkpoint = open_checkpoint(path)
    seen = set()
    for info in checkpoint.tensors.values():
        if info.encoding not in seen and len(info.shape) == 2 and info.shape[0] < 10_000:
            seen.add(info.encoding)
            raw = np.frombuffer(checkpoint.stored(info.name), np.uint8).reshape(info.shape[0], -1)
            kind = gguf.GGMLQuantizationType[info.encoding.upper()]
            assert np.array_equal(checkpoint.read(info.name), gguf.quants.dequantize(raw, kind))
    assert {"q4_k", "q6_k", "q5_0", "q8_0"} <= seen


MEASURE = """
import sys, resource, pathlib
from smelt.frontend.checkpoint import open_checkpoint
def peak():
    status = pathlib.Path('/proc/self/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) << 10
pathlib.Path('/proc/self/clear_refs').write_text('5')
start = peak()
checkpoint = open_checkpoint(sys.argv[1])
after_open = peak()
largest = 0
for name in checkpoint.tensors:
    values = checkpoint.read(name)
    largest = max(largest, values.nbytes)
    values.sum()
    del values
    checkpoint.release(name)
print(after_open - start, peak() - start, largest)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("name", ["minilm", "smollm2_gguf"])
def test_memory_is_that_of_one_tensor(name: str, record_property: Any) -> None:
    checkpoint = opened(models.MODELS[name])
    weights = sum(info.nbytes for info in checkpoint.tensors.values())
    path = next(iter(checkpoint.tensors.values())).file
    source = path if path.suffix == ".gguf" else path.parent
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(source)], capture_output=True, text=True, check=True
    )
    opening, reading, largest = (int(word) for word in done.stdout.split())
    record_property(f"figure {name}: peak MB while opening", round(opening / 1e6))
    record_property(f"figure {name}: peak MB while reading all", round(reading / 1e6))
    # Decoding holds the packed bytes, the values and one chunk's temporaries.
    assert reading < 2 * largest + opening + (40 << 20)
    if path.suffix != ".gguf":
        assert opening < weights / 4
