"""`make demo`: one real chat model and one sentence model, on every target, in a table.

Each target is compiled, asked and measured in a process of its own, so that the memory shown is its
own. Nothing here is special: these are the commands that a user types.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import typer

from smelt import console
from smelt.errors import SmeltError
from smelt.inspecting import human

QUESTION = "What is the capital of France?"
ANSWER = "Paris"

SENTENCES = (
    "The food was delicious",
    "The meal tasted wonderful",
    "The train leaves at seven",
)
#: Most by which a cosine may differ between targets.
COSINE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """A column of the demo: its name and what `smelt compile` is told."""

    name: str
    options: tuple[str, ...]


CHAT = (
    Case("torch", ("--target", "torch")),
    Case("onnx fp32", ("--target", "onnx")),
    Case("onnx int4", ("--target", "onnx", "--quant", "int4")),
    Case("tensorrt", ("--target", "tensorrt")),
    Case("edge int8", ("--target", "edge", "--quant", "int8")),
    Case("edge int4", ("--target", "edge", "--quant", "int4")),
)
EMBED = (
    Case("torch", ("--target", "torch")),
    Case("onnx", ("--target", "onnx")),
    Case("edge", ("--target", "edge")),
)


def demo(
    chat: Annotated[Path, typer.Option(help="A chat model: directory or GGUF file.")],
    sentences: Annotated[Path, typer.Option(help="A sentence model: directory.")],
    out: Annotated[Path, typer.Option(help="Where the artifacts go.")] = Path("demo"),
) -> None:
    """Compile the two models for every target, and show what each one says, and costs."""
    with console.reported(as_json=False):
        start = time.monotonic()
        rows = [_chat(case, chat, out) for case in CHAT]
        console.write("\n")
        titles = ["", "size", "open", "prefill", "decode", "peak memory", "certificate", "answer"]
        console.table(f"{chat.name}: {QUESTION}", titles, rows)
        pairs = [f"{i + 1}·{j + 1}" for i, j in combinations(range(len(SENTENCES)), 2)]
        cosines = {case.name: _cosines(case, sentences, out) for case in EMBED}
        table = [[name, *(f"{value:.5f}" for value in found)] for name, found in cosines.items()]
        console.table(f"{sentences.name}: cosines of 3 sentences", ["", *pairs], table)
        for number, text in enumerate(SENTENCES, 1):
            console.write(f"  {number}  {text}\n")
        console.write(f"\n{time.monotonic() - start:.0f} seconds; artifacts are in {out}\n")
        _check(rows, cosines)


def _chat(case: Case, source: Path, out: Path) -> list[str]:
    path = out / f"chat-{case.name.replace(' ', '-')}"
    _smelt("compile", source, *case.options, "-o", path, shown=True)
    described = _smelt("inspect", path, "--no-graph", "--json")
    certificate = described["manifest"]["certificate"]
    if certificate["status"] == "not_run":
        why = f"not run: {certificate['reason']}"
        return [case.name, _size(path), "", "", "", "", why, "(engine built)"]
    said = _smelt("run", path, QUESTION, "--max-new-tokens", "24", "--temperature", "0", "--json")[
        0
    ]
    found = _smelt("bench", path, "--json")
    return [
        case.name,
        _size(path),
        f"{found['open_seconds']:.2f} s",
        f"{found['prefill_tokens_per_second']:.0f} tok/s",
        f"{found['decode_tokens_per_second']:.0f} tok/s",
        human(found["peak_memory_bytes"]),
        _verdict(certificate),
        said["text"].strip().splitlines()[0],
    ]


def _verdict(certificate: dict[str, Any]) -> str:
    checks = [*certificate["outputs"], *certificate["slots"]]
    worst = max(c["max_abs_error"] / max(c["max_abs_value"], 1e-30) for c in checks)
    text = f"{certificate['status']}, {worst:.0e}"
    if certificate["distribution"]:
        text += f", KL {certificate['distribution']['kl_mean']:.3f}"
    return text


def _cosines(case: Case, source: Path, out: Path) -> list[float]:
    path = out / f"sentences-{case.name}"
    _smelt("compile", source, *case.options, "-o", path, shown=True)
    found = _smelt("run", path, *SENTENCES, "--json")["cosines"]
    return [found[i][j] for i, j in combinations(range(len(SENTENCES)), 2)]


def _check(rows: list[list[str]], cosines: dict[str, list[float]]) -> None:
    """Fail when a target that runs does not know the capital, or when cosines differ."""
    for row in rows:
        if not row[6].startswith("not run") and ANSWER not in row[7]:
            raise SmeltError(f"{row[0]} answers `{row[7]}`, wants {ANSWER}")
    first = cosines[EMBED[0].name]
    for name, found in cosines.items():
        worst = max(abs(a - b) for a, b in zip(first, found, strict=True))
        if worst > COSINE_TOLERANCE:
            raise SmeltError(f"cosines on {name} differ from {EMBED[0].name} by {worst:.1e}")


def _smelt(*words: object, shown: bool = False) -> Any:
    """Run a command of ours; what it prints as JSON, or nothing when it is shown to the person."""
    command = [sys.executable, "-m", "smelt.cli", *map(str, words)]
    if shown:
        console.write(f"\n$ smelt {' '.join(map(str, words))}\n")
    done = subprocess.run(command, stdout=None if shown else subprocess.PIPE, text=True)
    if done.returncode:
        raise SmeltError(f"smelt {words[0]} failed with exit code {done.returncode}")
    return None if shown else json.loads(done.stdout)


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return human(sum(p.stat().st_size for p in files))


if __name__ == "__main__":
    typer.run(demo)
