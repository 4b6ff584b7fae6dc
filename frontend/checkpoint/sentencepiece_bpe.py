"""A SentencePiece BPE vocabulary (the "llama" tokenizer) as a `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SPACE = "\u2581"  # how SentencePiece spells a space

# SentencePiece's piece types, as GGUF stores them.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def sentencepiece_tokenizer(
    pieces: Sequence[str],
    scores: Sequence[float],
    types: Sequence[int],
    *,
    bos: int | None,
    eos: int | None,
    unknown: int | None,
    add_bos: bool = True,
    add_eos: bool = False,
    space_prefix: bool = True,
) -> dict[str, Any]:
    """The `tokenizer.json` of a SentencePiece BPE model: pieces, their scores, and their types."""
    added = [
        added_token(index, piece, special=types[index] != USER_DEFINED)
        for index, piece in enumerate(pieces)
        if types[index] in (UNKNOWN, CONTROL, USER_DEFINED)
    ]
    prepend = [{"type": "Prepend", "prepend": SPACE}] if space_prefix else []
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if space_prefix else []
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [*prepend, replace]},
        "pre_tokenizer": None,
        "post_processor": template(pieces, bos if add_bos else None, eos if add_eos else None),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                *strip,
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None if unknown is None else pieces[unknown],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": BYTE in types,
            "ignore_merges": False,
            "vocab": {piece: index for index, piece in enumerate(pieces)},
            "merges": merges_of(pieces, scores, types),
        },
    }


def added_token(index: int, content: str, *, special: bool) -> dict[str, Any]:
    """One row of `added_tokens`: matched as a whole before the model sees the text."""
    return {
        "id": index,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": special,
    }


def template(pieces: Sequence[str], bos: int | None, eos: int | None) -> dict[str, Any] | None:
    """The post-processor that frames a text with its first and last token, if there is one."""
    if bos is None and eos is None:
        return None
    used = [index for index in (bos, eos) if index is not None]

    def token(index: int | None, segment: int) -> list[dict[str, Any]]:
        return (
            [] if index is None else [{"SpecialToken": {"id": pieces[index], "type_id": segment}}]
        )

    def framed(name: str, segment: int) -> list[dict[str, Any]]:
        body = {"Sequence": {"id": name, "type_id": segment}}
        return [*token(bos, segment), body, *token(eos, segment)]

    return {
        "type": "TemplateProcessing",
        "single": framed("A", 0),
        "pair": [*framed("A", 0), *framed("B", 1)],
        "special_tokens": {
            pieces[index]: {"id": pieces[index], "ids": [index], "tokens": [pieces[index]]}
            for index in used
        },
    }


def merges_of(
    pieces: Sequence[str], scores: Sequence[float], types: Sequence[int]
) -> list[list[str]]:
    """Every split of a piece into two pieces, the best-scored piece first."""
    index = {
        piece: at for at, piece in enumerate(pieces) if types[at] in (NORMAL, USER_DEFINED, UNUSED)
    }
    found: list[tuple[float, int, int, str, str]] = []
    for piece, at in index.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in index and right in index:
                found.append((-scores[at], index[left], index[right], left, right))
    found.sort(key=lambda row: row[:3])
    return [[left, right] for *_, left, right in found]
