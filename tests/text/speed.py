"""How fast compiled tokenizers are beside the `tokenizers` library, on one thread.

python -m tests.text.speed [--megabytes 10] [--rounds 5] [NAME|FILE|FOLDER ...]

Without names: one real tokenizer of each family. Rounds alternate between the two, so that what
else the machine does hits both; texts are documents of about 4 KB in many scripts, offsets in
characters are computed by both.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from smelt.frontend.tokenizer import compile_tokenizer
from smelt.runtime import _edge
from smelt.text_samples import SENTENCES
from tests.models import ModelUnavailable
from tests.text.compare import chosen, load
from tests.text.vocabularies import FAMILIES

#: How often a sentence is drawn: mostly prose and code, as what is fed to models.
PROSE = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age"
    " of foolishness, it was the epoch of belief, it was the epoch of incredulity.",
    "When a language model reads a text, it sees neither letters nor words but the numbers of"
    " pieces, which somebody's statistics once found to be frequent.",
    "for index, (name, value) in enumerate(sorted(items.items())):\n    if value is None:\n"
    "        continue\n    total += weights[name] * value  # see above\n",
    "Am Anfang wurde das Universum erschaffen. Das machte viele Leute sehr wütend und wurde"
    " allenthalben als Schritt in die falsche Richtung angesehen.",
)


def documents(size: int, seed: int = 1) -> list[str]:
    """Texts of together about ``size`` bytes."""
    rng = random.Random(seed)
    made: list[str] = []
    total = 0
    words = [w for s in (*PROSE, *SENTENCES) for w in s.split(" ")]
    while total < size:
        parts = []
        held = 0
        while held < 4000:
            kind = rng.random()
            if kind < 0.5:
                part = rng.choice(PROSE)
            elif kind < 0.75:
                part = " ".join(rng.choices(words, k=12))
            else:
                part = rng.choice(SENTENCES)
            parts.append(part)
            held += len(part.encode()) + 1
        made.append(rng.choice((" ", "\n", "\n\n")).join(parts))
        total += len(made[-1].encode())
    return made


def main(arguments: list[str]) -> None:
    """Print a line for each tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    texts = documents(int(options.megabytes * 1e6))
    raw = [text.encode() for text in texts]
    size = sum(map(len, raw)) / 1e6
    print("| family | tokenizer | library, MB/s | compiled, MB/s | ratio | rounds |")
    print("|---|---|---|---|---|---|")
    for vocabulary in chosen(options.names) if options.names else FAMILIES:
        try:
            library = load(vocabulary.fetch())
        except ModelUnavailable as error:
            print(f"| {vocabulary.family} | {vocabulary.name} | not there: {error} | | | |")
            continue
        compiled = _edge.Tokenizer.open(compile_tokenizer(library))
        times: dict[str, list[float]] = {"library": [], "compiled": []}
        for _ in range(options.rounds):
            start = time.perf_counter()
            count = sum(len(library.encode(text).ids) for text in texts)
            times["library"].append(time.perf_counter() - start)
            start = time.perf_counter()
            own = compiled.count(raw, True)
            times["compiled"].append(time.perf_counter() - start)
            assert own == count, f"{own} tokens instead of {count}"
        ratios = [a / b for a, b in zip(times["library"], times["compiled"], strict=True)]
        slow, fast = (size / statistics.median(times[name]) for name in ("library", "compiled"))
        cells = (
            *(vocabulary.family, vocabulary.name, f"{slow:.1f}", f"{fast:.1f}"),
            *(f"{statistics.median(ratios):.1f}", f"{min(ratios):.1f} … {max(ratios):.1f}"),
        )
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main(sys.argv[1:])
