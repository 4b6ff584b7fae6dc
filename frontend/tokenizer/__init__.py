"""tokenizer.json as tables that the C++ runtime walks (`runtime/cpp/text`, docs/tokenizer.md)."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer

from smelt.errors import UnsupportedError
from smelt.frontend.tokenizer.models import Source, model
from smelt.frontend.tokenizer.outputs import added, decoder, processor
from smelt.frontend.tokenizer.steps import Steps, flat, normalizer, splitters
from smelt.frontend.tokenizer.tables import NONE, Tables

#: The words of the first table, in order.
INFO = (
    *("model", "flags", "vocab", "unknown", "normalizers", "splitters"),
    *("added_raw", "added_normalized", "added", "characters"),
    *("strings", "words", "longest", "pairs", "symbols", "cuts", "byte_symbols"),
    *("heads", "tails", "most_characters", "scores", "frame"),
    *("first_pieces", "rest_pieces", "piece_flags", "trims", "strip_left", "strip_byte", "affixes"),
)


def compile_tokenizer(tokenizer: Tokenizer) -> bytes:
    """The tables of a tokenizer; UnsupportedError names the construct that has none."""
    given: dict[str, Any] = json.loads(tokenizer.to_str())
    tables = Tables()
    normal, cut = Steps(tables), Steps(tables)
    normalizer(given["normalizer"], normal)
    parts = flat(given["pre_tokenizer"])
    is_bytes = splitters(parts, cut)
    ids = tokenizer.get_vocab(with_added_tokens=True).values()
    vocab = 1 + max(ids, default=0)
    if vocab > 4 * len(ids) + 1000:
        raise UnsupportedError(f"the largest id is {vocab - 1}, but there are {len(ids)} tokens")
    names = [tokenizer.id_to_token(index) for index in range(vocab)]
    found = model(Source(given["model"], tokenizer, is_bytes, vocab), tables)
    outputs = (
        added(given, tokenizer, tables),
        processor(given["post_processor"], tokenizer, [n or "" for n in names], tables),
        decoder(given["decoder"], tokenizer, names, tables),
    )
    flags = found.get("flags", 0)
    for part in outputs:
        flags |= part.get("flags", 0)
        found.update(part)
    found.update(flags=flags, vocab=vocab, normalizers=normal.table(), splitters=cut.table())
    words = [found.get(name, NONE) for name in INFO]
    return tables.data(words + [0] * (32 - len(words)))
