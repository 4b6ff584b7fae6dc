"""Compares compiled tokenizers with the `tokenizers` library.

python -m tests.text.compare [--count 1000000] [--seed 1] FILE.json|FILE.gguf|FOLDER ...
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from smelt.errors import UnsupportedError
from smelt.frontend.checkpoint.gguf_file import GgufFile
from smelt.frontend.checkpoint.gguf_tokenizer import tokenizer_files
from smelt.frontend.tokenizer import compile_tokenizer
from smelt.runtime import _edge
from smelt.runtime.text import Text
from tests.text.corpus import broken, strings


@dataclass
class Outcome:
    """How many strings were compared, and the first that differ."""

    compared: int = 0
    differences: list[str] = field(default_factory=list)

    def expect(self, what: str, text: object, found: object, wanted: object) -> None:
        """Note a difference."""
        if found != wanted:
            self.differences.append(f"{what} of {text!r}:\n  found  {found}\n  wanted {wanted}")


def load(path: Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json, a GGUF file, or a directory of files."""
    if path.is_dir():
        files = {p.name: p.read_bytes() for p in path.iterdir() if p.suffix in (".json", ".txt")}
        return Text.load(files).tokenizer
    if path.suffix == ".gguf":
        files = tokenizer_files(GgufFile(path).metadata, str(path))
        return Text.load(files).tokenizer
    return Text.load({"tokenizer.json": path.read_bytes()}).tokenizer


def compare(
    tokenizer: Tokenizer, count: int, seed: int, most: int = 5, compiled: Any = None
) -> Outcome:
    """Compare ids, offsets and decoded text on ``count`` strings, up to ``most`` differences."""
    own = compiled or _edge.Tokenizer.open(compile_tokenizer(tokenizer))
    special = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    outcome = Outcome()
    rng = random.Random(seed)
    for text in strings(count, seed, special):
        with_frame = rng.random() < 0.5
        wanted = tokenizer.encode(text, add_special_tokens=with_frame)
        ids, offsets = own.encode(text.encode(), with_frame, True)
        outcome.compared += 1
        outcome.expect("ids", text, ids, wanted.ids)
        outcome.expect("offsets", text, offsets, wanted.offsets)
        skip = rng.random() < 0.5
        back = tokenizer.decode(wanted.ids, skip_special_tokens=skip)
        outcome.expect("text", text, own.decode(wanted.ids, skip).decode(), back)
        if len(outcome.differences) >= most:
            return outcome
    for index in range(count // 4):
        ids = [rng.randrange(own.vocab_size + 2) for _ in range(rng.choice((1, 2, 5, 12)))]
        back = tokenizer.decode(ids, skip_special_tokens=bool(index % 2))
        outcome.expect("text", ids, own.decode(ids, bool(index % 2)).decode(), back)
        if len(outcome.differences) >= most:
            return outcome
    for raw in broken(count // 10, seed):
        wanted = tokenizer.encode(raw.decode("utf-8", "replace"))
        ids, offsets = own.encode(raw, True, True)
        outcome.expect("ids", raw, ids, wanted.ids)
        outcome.expect("offsets", raw, offsets, wanted.offsets)
    return outcome


def main(arguments: list[str], say: Callable[[str], object] = print) -> int:
    """Compare every tokenizer that is named; the number of those that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    failed = 0
    for path in options.files:
        start = time.monotonic()
        try:
            outcome = compare(load(path), options.count, options.seed)
        except UnsupportedError as error:
            say(f"{path}: refused: {error}")
            continue
        seconds = time.monotonic() - start
        say(
            f"{path}: {outcome.compared} strings, {len(outcome.differences)} differences,"
            f" {seconds:.0f} s"
        )
        for difference in outcome.differences:
            say(difference)
        failed += bool(outcome.differences)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
