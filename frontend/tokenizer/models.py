"""The models: vocabularies, merges and scores as tables."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from smelt.errors import UnsupportedError
from smelt.frontend.tokenizer.steps import byte_letters
from smelt.frontend.tokenizer.tables import NONE, WHOLE, Tables, cut_hash

KINDS = ("BPE", "WordPiece", "Unigram", "WordLevel")
FUSE, FALLBACK, WHOLE_WORDS = 1, 2, 4
CUT_BYTES = 1 << 15
UNKNOWN_PENALTY = 10.0


@dataclass(frozen=True)
class Source:
    """A model's JSON and what it stands in; ``size``: how many ids the tokenizer has."""

    given: Mapping[str, Any]
    tokenizer: Tokenizer
    is_bytes: bool
    size: int


def model(source: Source, tables: Tables) -> dict[str, int]:
    """The model's part of `info`."""
    kind = source.given["type"]
    known = MODELS.get(kind)
    if known is None:
        raise UnsupportedError(f"model {kind} is not compiled")
    if source.is_bytes and kind != "BPE":
        raise UnsupportedError(f"pre-tokenizer ByteLevel before a {kind} model is not compiled")
    return {"model": KINDS.index(kind), **known(source, tables)}


def _words(words: Mapping[bytes, int], whole: set[int], tables: Tables) -> dict[str, int]:
    """The words by id and the ids by word; ``whole`` are encoded as the one token."""
    if len(set(words.values())) != len(words):
        raise UnsupportedError("two words of the vocabulary share an id")
    strings = [b""] * (1 + max(words.values(), default=0))
    for word, index in words.items():
        strings[index] = word
    marked = {w: i | WHOLE if i in whole else i for w, i in words.items() if w}
    return {
        "strings": tables.strings(strings),
        "words": tables.words(marked),
        "longest": max(map(len, words), default=0),
    }


def _bpe(source: Source, tables: Tables) -> dict[str, int]:
    given, is_bytes = source.given, source.is_bytes
    vocab: dict[str, int] = given["vocab"]
    prefix = given.get("continuing_subword_prefix") or ""
    suffix = given.get("end_of_word_suffix") or ""
    if (prefix or suffix) and given.get("byte_fallback"):
        raise UnsupportedError("BPE with byte fallback and a prefix or suffix is not compiled")
    if len((prefix + suffix).encode()) > 48:
        raise UnsupportedError("BPE with a prefix and suffix of more than 48 bytes is not compiled")
    if given.get("dropout"):
        raise UnsupportedError("BPE with dropout is not compiled")
    unknown = vocab.get(given["unk_token"], NONE) if given.get("unk_token") else NONE
    if given.get("unk_token") and unknown == NONE:
        raise UnsupportedError("the unknown token is not in the vocabulary")
    flags = FUSE * bool(given.get("fuse_unk")) | WHOLE_WORDS * bool(given.get("ignore_merges"))
    merges = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in given["merges"]]
    pairs: dict[tuple[int, int], tuple[int, int]] = {}
    for rank, (left, right) in enumerate(merges):
        pairs[vocab[left], vocab[right]] = (rank, vocab[left + right[len(prefix) :]])
    found = {"unknown": unknown, "pairs": tables.pairs(pairs)}
    if prefix or suffix:
        found["affixes"] = tables.strings([prefix.encode(), suffix.encode()])
    fallback = {f"<0x{b:02X}>": b for b in range(256)}
    if given.get("byte_fallback"):
        flags |= FALLBACK
        found["byte_symbols"] = tables.words32([vocab.get(name, NONE) for name in fallback])
    words = {word.encode(): index for word, index in vocab.items()}
    if is_bytes:
        values = {letter: byte for byte, letter in byte_letters().items()}
        words = {
            bytes(values[c] for c in word): index
            for word, index in vocab.items()
            if all(c in values for c in word)
        }
        symbols = [words.get(bytes([b]), NONE) for b in range(256)]
        found["symbols"] = tables.words32(symbols)
    else:
        cuts = _cuts(vocab, pairs, {unknown, *(vocab.get(name, NONE) for name in fallback)})
        if cuts is not None and not flags & WHOLE_WORDS and not prefix + suffix:
            found["cuts"] = tables.add("bytes", cuts)
    # A whole word needs no merging where merging would give it back.
    if flags & WHOLE_WORDS:
        whole = set(words.values())
    elif prefix or suffix:
        whole = set()
    else:
        made = source.tokenizer.model.tokenize
        whole = {
            index
            for word, index in vocab.items()
            if word and [token.id for token in made(word)] == [index]
        }
    return {**found, "flags": flags, **_words(words, whole, tables)}


def _cuts(
    vocab: Mapping[str, int], pairs: Mapping[tuple[int, int], Any], special: set[int]
) -> bytes | None:
    """A bit for each pair of characters: clear where no token holds them side by side."""
    if any(index in special for pair in pairs for index in pair):
        return None  # merges of unknown text or bytes: neighbours say nothing
    lefts: list[int] = []
    rights: list[int] = []
    made = {index for _, index in pairs.values()}
    neighbours = {pair for word, index in vocab.items() if index in made for pair in pairwise(word)}
    for left, right in neighbours:
        lefts.append(ord(left))
        rights.append(ord(right))
    bits = np.zeros(CUT_BYTES * 8, np.uint8)
    hashes = cut_hash(np.array(lefts, np.uint64), np.array(rights, np.uint64))
    bits[(hashes & np.uint64(CUT_BYTES * 8 - 1)).astype(np.int64)] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def _word_piece(source: Source, tables: Tables) -> dict[str, int]:
    given = source.given
    vocab: dict[str, int] = given["vocab"]
    if given["unk_token"] not in vocab:
        raise UnsupportedError("the unknown token is not in the vocabulary")
    prefix = given["continuing_subword_prefix"]
    tails = {w[len(prefix) :]: i for w, i in vocab.items() if w.startswith(prefix) and w != prefix}
    return {
        "unknown": vocab[given["unk_token"]],
        "heads": tables.trie({w.encode(): i for w, i in vocab.items() if w}),
        "tails": tables.trie({w.encode(): i for w, i in tails.items()}),
        "most_characters": given["max_input_chars_per_word"],
        **_words({w.encode(): i for w, i in vocab.items()}, set(), tables),
    }


def _word_level(source: Source, tables: Tables) -> dict[str, int]:
    given = source.given
    vocab: dict[str, int] = given["vocab"]
    if given["unk_token"] not in vocab:
        raise UnsupportedError("the unknown token is not in the vocabulary")
    words = {word.encode(): index for word, index in vocab.items()}
    return {"unknown": vocab[given["unk_token"]], **_words(words, set(), tables)}


def _unigram(source: Source, tables: Tables) -> dict[str, int]:
    given = source.given
    rows = given["vocab"]
    if given.get("unk_id") is None:
        raise UnsupportedError("Unigram without an unknown token is not compiled")
    ids = {word: index for index, (word, _) in enumerate(rows)}
    words = {word.encode(): index for word, index in ids.items()}
    flags, found = 0, {}
    fallback = [f"<0x{b:02X}>" for b in range(256)]
    if given.get("byte_fallback"):
        flags = FALLBACK
        found["byte_symbols"] = tables.words32([ids.get(name, NONE) for name in fallback])
    return {
        "unknown": given["unk_id"],
        "flags": flags,
        "heads": tables.trie({w: i for w, i in words.items() if w}),
        **found,
        **_words(words, set(), tables),
        "scores": _scores([score for _, score in rows], source.size, tables),
    }


def _scores(scores: list[float], vocab: int, tables: Tables) -> int:
    """One an id, then that of an unknown character."""
    row = scores + [0.0] * (vocab - len(scores)) + [min(scores) - UNKNOWN_PENALTY]
    return tables.add("reals", struct.pack(f"<{len(row)}d", *row))


MODELS: dict[str, Callable[[Source, Tables], dict[str, int]]] = {
    "BPE": _bpe,
    "WordPiece": _word_piece,
    "Unigram": _unigram,
    "WordLevel": _word_level,
}
