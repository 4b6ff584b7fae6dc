"""The C++ chat example, from `model.smelt` alone: its tokens are Python's on every target.

SMELT_CHAT=full compares 20 prompts under 5 settings; without it, a sample.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.compiling import compile
from smelt.errors import UnsupportedError
from tests.models import ModelUnavailable, smollm2_hf
from tests.test_cpp import built

PROMPTS = [
    "What is the capital of France?",
    "Write a haiku about rain.",
    "Name three fruits.",
    "Why is the sky blue?",
    "Translate 'good morning' to Spanish.",
    "What is 12 times 12?",
    "Tell me a joke.",
    "Who wrote Hamlet?",
    "Explain photosynthesis in one sentence.",
    'Say "hello" in five languages.',
    "What is a prime number?",
    "How do I boil an egg?",
    "Give me a synonym of happy.",
    "What is the largest ocean?",
    "Describe a cat.",
    "Was ist ein Käse-Soufflé? 🧀",
    "List the days of the week.",
    "What does CPU stand for?",
    "Write a C function that adds two numbers: \\n and \\t matter.",
    "How far is the moon?",
]
# Seed, temperature, top_p, top_k, repetition penalty; None is what the model says.
SETTINGS: list[tuple[int, float | None, float | None, int | None, float | None]] = [
    (0, 0.0, None, None, None),
    (1, 0.7, None, 40, None),
    (2, 1.0, 0.9, None, 1.1),
    (3, 1.3, 0.95, 100, 1.2),
    (2**32 + 5, 0.2, 0.8, None, None),
]
FULL = os.environ.get("SMELT_CHAT") == "full"
COUNT, NEW = (len(PROMPTS), 8) if FULL else (2, 4)
TARGETS = ("torch", "onnx", "edge")


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    try:
        return smollm2_hf()
    except ModelUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def replies(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[int, int], list[int]]:
    """What the example says to each prompt under each setting."""
    folder = tmp_path_factory.mktemp("chat")
    out = folder / "model.smelt"
    compile(checkpoint, target="edge", out=out, verify=False)
    program = folder / "chat"
    shutil.copy(built("cpp") / "chat", program)
    alone = folder / "alone"
    alone.mkdir()
    os.link(out, alone / "model.smelt")
    found = {}
    text = "\n\n".join(PROMPTS[:COUNT]) + "\n"
    for number, setting in enumerate(SETTINGS):
        words = [str(program), "model.smelt", *("-" if v is None else str(v) for v in setting)]
        done = subprocess.run(
            [*words, str(NEW)],
            input=text,
            cwd=alone,
            env={"CHAT_IDS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stdout.splitlines() if line.startswith("# ")]
        assert len(lines) == COUNT
        for at, line in enumerate(lines):
            found[number, at] = [int(word) for word in line[1:].split()]
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_the_chat_example_says_what_python_does(
    target: str, checkpoint: Path, replies: dict[tuple[int, int], list[int]], tmp_path: Path
) -> None:
    name = "model.smelt" if target == "edge" else "model"
    try:
        compile(checkpoint, target=target, out=tmp_path / name, verify=False)
        session = (
            smelt.open(tmp_path / name, threads=1)
            if target == "edge"
            else smelt.open(tmp_path / name)
        )
    except UnsupportedError as error:
        pytest.skip(error.message)
    compared = tokens = 0
    for (number, at), ids in replies.items():
        seed, temperature, top_p, top_k, penalty = SETTINGS[number]
        options: dict[str, Any] = {
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "repetition_penalty": penalty,
        }
        messages = [{"role": "user", "content": PROMPTS[at]}]
        generation = session.generate(messages=messages, seed=seed, max_new_tokens=NEW, **options)
        assert generation.wait().ids == ids, (target, SETTINGS[number], PROMPTS[at])
        compared += 1
        tokens += len(ids)
    print(f"{target}: {compared} replies, {tokens} tokens are equal")
    assert compared == COUNT * len(SETTINGS)
