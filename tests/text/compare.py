"""Compares compiled tokenizers with the `tokenizers` library, and prints a table.

python -m tests.text.compare [--count 1000000] [--others 50000] [--seed 1] [NAME|FILE|FOLDER ...]

Without names: one real tokenizer of each family, and with `--others` also every other one of
`tests.text.vocabularies`. Files: tokenizer.json, GGUF, or a checkpoint's folder.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from smelt.errors import UnsupportedError
from smelt.frontend.checkpoint.gguf_file import GgufFile
from smelt.frontend.checkpoint.gguf_tokenizer import tokenizer_files
from smelt.frontend.tokenizer import compile_tokenizer
from smelt.runtime import _edge
from smelt.runtime.text import Text
from smelt.tokenizer_proof import Outcome, compare_tokenizer
from tests.models import ModelUnavailable
from tests.text.vocabularies import FAMILIES, Vocabulary, others

MOST = 5  # differences that are shown of each


def load(path: Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json, a GGUF file, or a directory of files."""
    if path.is_dir():
        files = {p.name: p.read_bytes() for p in path.iterdir() if p.suffix in (".json", ".txt")}
        return Text.load(files).tokenizer
    if path.suffix == ".gguf":
        files = tokenizer_files(GgufFile(path).metadata, str(path))
        return Text.load(files).tokenizer
    return Text.load({"tokenizer.json": path.read_bytes()}).tokenizer


def compare(tokenizer: Tokenizer, count: int, seed: int, compiled: Any = None) -> Outcome:
    """Compare a tokenizer of the library with its compiled one on ``count`` strings."""
    own = compiled or _edge.Tokenizer.open(compile_tokenizer(tokenizer))
    return compare_tokenizer(tokenizer, own, count, seed, MOST)


def chosen(names: list[str]) -> Iterator[Vocabulary]:
    """Those that are named: known ones, or files."""
    known = {each.name: each for each in (*FAMILIES, *others())}
    for name in names:
        yield known.get(name) or Vocabulary("", name, lambda name=name: Path(name))  # type: ignore[misc]


def row(vocabulary: Vocabulary, count: int, seed: int) -> tuple[str, list[str]]:
    """The line of a tokenizer in the table, and its differences."""
    start = time.monotonic()
    cells = [vocabulary.family, vocabulary.name]
    differences: list[str] = []
    try:
        outcome = compare(load(vocabulary.fetch()), count, seed)
        differences = outcome.differences
        cells += [f"{outcome.strings:,}".replace(",", " "), str(len(differences)), ""]
    except UnsupportedError as error:
        cells += ["", "", f"refused: {error.message}"]
    except ModelUnavailable as error:
        cells += ["", "", f"not there: {error}"]
    seconds = time.monotonic() - start
    return f"| {' | '.join(cells)} | {seconds:.0f} s |", differences


def main(arguments: list[str], say: Callable[[str], object] = print) -> int:
    """Compare every tokenizer that is named; the number of those that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--others", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    jobs = [(v, options.count) for v in (chosen(options.names) if options.names else FAMILIES)]
    if options.others:
        jobs += [(vocabulary, options.others) for vocabulary in others()]
    failed = 0
    say("| family | tokenizer | strings | differences | refused | time |")
    say("|---|---|---|---|---|---|")
    for vocabulary, count in jobs:
        line, differences = row(vocabulary, count, options.seed)
        say(line)
        for difference in differences:
            say(f"  {difference}")
        failed += bool(differences)
    return failed


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:]))
