"""The C++ library as embedders build it: its example, its memory, its size."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

import smelt
from smelt.compiling import compile
from smelt.runtime.artifact import open_artifact
from smelt.runtime.text import Text
from tests import tiny
from tests.models import ModelUnavailable, stories15m

ROOT = Path(__file__).resolve().parents[1]
PROMPT = [1, 9, 4, 7]

TARGETS = ("chat", "generate", "prompt", "allocation_test", "smelt_shared")
MEGABYTE = 1_000_000
KILOBYTE = 1000

if sys.platform != "linux":
    pytest.skip("the library is built for Linux here", allow_module_level=True)


def tool(name: str) -> str:
    """A program beside this Python, or on the path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@cache
def built(name: str, *options: str) -> Path:
    """The folder of a release build of library and tools; one process builds, others wait."""
    folder = ROOT / "build" / name
    folder.mkdir(parents=True, exist_ok=True)
    cmake, ninja = tool("cmake"), tool("ninja")
    words = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", "-DSMELT_TESTS=ON"]
    words += ["-DSMELT_INSTALL=ON", *options]
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run(cmake, "-S", ROOT, "-B", folder, *words)
        run(cmake, "--build", folder, "--target", *TARGETS)
    return folder / "runtime" / "cpp"


def run(*words: object, **env: str) -> str:
    """What a program prints; it has to succeed."""
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _stripped(library: Path, folder: Path) -> int:
    out = folder / "stripped.so"
    run(tool("strip"), "-o", out, library)
    return out.stat().st_size


def _greedy(path: Path, count: int) -> list[int]:
    """What Python's engine generates."""
    session = smelt.open(path, threads=1)
    return session.generate(ids=PROMPT, max_new_tokens=count, temperature=0.0).wait().ids


def _llama(folder: Path) -> Path:
    return tiny.llama(folder / "llama", max_position_embeddings=512)


def _stories(folder: Path) -> Path:
    try:
        return stories15m()
    except ModelUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("quant", [None, "int4", "int8,asym"])
@pytest.mark.parametrize("source", [_llama, _stories])
def test_the_example_generates_what_python_does(
    source: Callable[[Path], Path], quant: str | None, tmp_path: Path
) -> None:
    out = tmp_path / "model.smelt"
    compile(source(tmp_path), target="edge", quant=quant, out=out, verify=False)
    for threads in ("1", "2"):
        said = run(built("cpp") / "generate", out, 40, *PROMPT, SMELT_THREADS=threads)
        assert [int(word) for word in said.split()] == _greedy(out, 40)


@pytest.mark.parametrize(("quant", "kv"), [(None, None), ("int4", "int8"), ("int8", "bf16")])
def test_nothing_allocates_over_a_thousand_tokens(
    quant: str | None, kv: str | None, tmp_path: Path
) -> None:
    out = tmp_path / "model.smelt"
    compile(_llama(tmp_path), target="edge", quant=quant, kv=kv, out=out, verify=False)
    said = run(built("cpp") / "tests" / "allocation_test", out, 1000, 512)
    assert said.count("nothing allocated after open") == 2 or "skipped" in said


CHAT = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def _chatting(folder: Path, template: str) -> Path:
    """A tiny checkpoint with a tokenizer and a chat template, compiled."""
    source = _llama(folder)
    words = {"<s>": 0, "a": 1}
    Tokenizer(WordLevel(words, unk_token="a")).save(str(source / "tokenizer.json"))
    (source / "chat_template.jinja").write_text(template)
    (source / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>"}))
    out = folder / "model.smelt"
    compile(source, target="edge", out=out, verify=False)
    return out


def test_the_prompt_of_a_chat_is_python_s(tmp_path: Path) -> None:
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "é"}]},
        {"role": "assistant", "content": "y", "thinking": "z"},
    ]
    out = _chatting(tmp_path, CHAT + "{{ tools }}{{ 'now' if add_generation_prompt }}")
    text = Text.load({n: open_artifact(out).read(n) for n in open_artifact(out).manifest.tokenizer})
    given = json.dumps({"messages": chat})
    assert run(built("cpp") / "prompt", out, given) == text.render_chat(chat)
    given = json.dumps({"messages": chat, "bos_token": "B", "add_generation_prompt": False})
    wanted = text.render_chat(chat, add_generation_prompt=False, bos_token="B")
    assert run(built("cpp") / "prompt", out, given) == wanted
    assert wanted == "Buser: é\nassistant: y\nNone"


def test_a_template_that_is_not_compiled_says_why(tmp_path: Path) -> None:
    out = _chatting(tmp_path, "a\n{{ messages | batch(2) }}")
    refused = open_artifact(out).manifest.template_refused
    assert refused == "default: line 2: chat template uses the filter `batch`"
    words = [str(built("cpp") / "prompt"), str(out), "{}"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no compiled chat template `default`" in done.stderr


def test_the_library_gives_all_that_its_header_declares() -> None:
    header = (ROOT / "runtime/cpp/include/smelt/smelt.h").read_text(encoding="utf-8")
    declared = set(re.findall(r"SMELT_API [^;(]*?\b(smelt_\w+)\(", header))
    library = ctypes.CDLL(str(built("cpp") / "libsmelt.so"))
    missing = {name for name in declared if not hasattr(library, name)}
    assert len(declared) > 30
    assert not missing


def test_the_library_has_at_most_a_megabyte(tmp_path: Path) -> None:
    size = _stripped(built("cpp") / "libsmelt.so", tmp_path)
    print(f"libsmelt.so, all kernels, stripped: {size} bytes")
    assert size <= MEGABYTE


@pytest.mark.skipif(platform.machine() != "x86_64", reason="builds the AVX2 kernels")
def test_a_library_for_one_model_has_at_most_400_kb(tmp_path: Path) -> None:
    out = tmp_path / "model.smelt"
    compile(_llama(tmp_path), target="edge", quant="int4", out=out, verify=False)
    opcodes = np.unique(open_artifact(out).table("instructions")["opcode"])
    kept = ";".join(str(code) for code in opcodes)
    folder = built("cpp-small", "-DSMELT_ISAS=avx2", "-DSMELT_TEXT=OFF", f"-DSMELT_OPS={kept}")
    size = _stripped(folder / "libsmelt.so", tmp_path)
    print(f"libsmelt.so, AVX2 and {len(opcodes)} opcodes, stripped: {size} bytes")
    assert size <= 400 * KILOBYTE
    said = run(folder / "generate", out, 20, *PROMPT)
    assert len(said.split()) > 0
    other = tmp_path / "other.smelt"
    compile(tiny.gpt2(tmp_path / "gpt2"), target="edge", out=other, verify=False)
    words = [folder / "generate", other, "2", "1"]
    refused = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    assert refused.returncode == 1 and "opcode" in refused.stderr
