"""The driver on a tiny model: artifacts are proven, reproducible, and checked again later."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smelt
from smelt.errors import ArtifactError, ParityError, UnsupportedError
from smelt.golden import GOLDEN, recheck
from smelt.targets import TARGETS
from tests import tiny

NAMES = [n if d is None else f"{n}-{d}" for n, d in TARGETS if n != "tensorrt"]
PLAIN = dict(zip(NAMES, [k for k in TARGETS if k[0] != "tensorrt"], strict=True))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("llama"))


def compile_tiny(checkpoint: Path, name: str, out: Path, **options: Any) -> Path:
    target, dialect = PLAIN[name]
    smelt.compile(checkpoint, target=target, dialect=dialect, out=out, **options)
    return out


def check_again(path: Path) -> float:
    session = smelt.open(path)
    stored = read_golden(path)
    return recheck(session.engine, session.manifest, stored, progress=lambda what: None)


def read_golden(path: Path) -> bytes:
    if path.is_dir():
        return (path / GOLDEN).read_bytes()
    from smelt.runtime.artifact import open_artifact

    return bytes(open_artifact(path).read(GOLDEN))


def digest(path: Path) -> str:
    found = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            found.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return found.hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_artifact_is_proven_and_rechecks(checkpoint: Path, name: str, tmp_path: Path) -> None:
    out = compile_tiny(checkpoint, name, tmp_path / "out")
    certificate = smelt.open(out).manifest.certificate
    assert certificate is not None and certificate.passed
    assert certificate.outputs and certificate.slots
    assert check_again(out) < 1e-4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("quant", ["bf16", "int8", "int4,group=16,asym"])
def test_quantized_artifact_is_measured(
    checkpoint: Path, name: str, quant: str, tmp_path: Path
) -> None:
    out = compile_tiny(checkpoint, name, tmp_path / "out", quant=quant)
    certificate = smelt.open(out).manifest.certificate
    assert certificate is not None and certificate.distribution is not None
    assert certificate.distribution.kl_mean > 0


@pytest.mark.parametrize("name", NAMES)
def test_same_input_gives_same_bytes(checkpoint: Path, name: str, tmp_path: Path) -> None:
    first = compile_tiny(checkpoint, name, tmp_path / "one")
    again = compile_tiny(checkpoint, name, tmp_path / "two")
    assert digest(first) == digest(again)


def test_session_generates_what_the_reference_does(checkpoint: Path, tmp_path: Path) -> None:
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(checkpoint)
    ids = [3, 14, 15, 92, 65]
    wanted = model.generate(
        torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=None
    )
    for name in NAMES:
        session = smelt.open(compile_tiny(checkpoint, name, tmp_path / name))
        result = session.generate(ids=ids, max_new_tokens=12, temperature=0.0).wait()
        stops = session.manifest.generation.eos_token_ids
        expected = wanted[0, len(ids) :].tolist()
        cut = next((i for i, token in enumerate(expected) if token in stops), len(expected))
        assert result.ids[:cut] == expected[:cut]


def test_flipped_weight_byte_is_found(checkpoint: Path, tmp_path: Path) -> None:
    out = compile_tiny(checkpoint, "torch", tmp_path / "out")
    weights = out / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1234 | 3] ^= 0x40  # the exponent of one f32 in the last layers
    weights.write_bytes(data)
    with pytest.raises((ParityError, ArtifactError)):
        check_again(out)


def test_unknown_target_and_options_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="targets:"):
        smelt.compile(checkpoint, target="gguf", out=tmp_path / "a")
    with pytest.raises(UnsupportedError, match="options:"):
        smelt.compile(checkpoint, target="torch", out=tmp_path / "a", colour="red")
    assert not (tmp_path / "a").exists()


def test_damaged_checkpoint_writes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(checkpoint, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(smelt.errors.SmeltError):
        smelt.compile(broken, target="torch", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [n for n in NAMES if n in ("torch", "edge")])
def test_killed_compile_leaves_nothing_finished(
    checkpoint: Path, name: str, tmp_path: Path
) -> None:
    """Kill -9 at random moments: the final name is absent or complete, never partial."""
    target, _ = PLAIN[name]
    whole = digest(compile_tiny(checkpoint, name, tmp_path / "whole"))
    out = tmp_path / "out"
    code = (
        f"import sys, smelt;smelt.compile({str(checkpoint)!r}, target={target!r}, out={str(out)!r})"
    )
    moments = random.Random(5)
    kills = int(os.environ.get("SMELT_KILLS", "5"))
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    longest = time.monotonic() - start
    for _ in range(kills):
        shutil.rmtree(out, ignore_errors=True) if out.is_dir() else out.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", code])
        time.sleep(moments.uniform(0.0, longest))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if out.exists():
            assert digest(out) == whole
    compile_tiny(checkpoint, name, out)
    assert digest(out) == whole
    leftovers = [p.name for p in tmp_path.iterdir() if p.name not in ("whole", "out")]
    assert leftovers == []


def test_run_matches_reference_logits(checkpoint: Path, tmp_path: Path) -> None:
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(checkpoint)
    ids = np.arange(20).reshape(2, 10) * 4
    with torch.no_grad():
        wanted = model(torch.from_numpy(ids)).logits.numpy()
    for name in NAMES:
        session = smelt.open(compile_tiny(checkpoint, name, tmp_path / name))
        found = session.run(input_ids=ids)["logits"]
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
