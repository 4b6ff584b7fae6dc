"""Added tokens, post-processors and decoders as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tokenizers import Tokenizer

from smelt.errors import UnsupportedError
from smelt.frontend.tokenizer import unicode
from smelt.frontend.tokenizer.steps import byte_letters
from smelt.frontend.tokenizer.tables import NONE, Tables

Json = Mapping[str, Any]
TRIM, TRIM_KEEPS_ONE, LOSSY = 8, 16, 32
SINGLE_WORD, LEFT, RIGHT = 1, 2, 4
SPECIAL, BYTE, KNOWN = 1, 2, 4
TOKEN, FIRST = 0, 1


def added(given: Json, tokenizer: Tokenizer, tables: Tables) -> dict[str, int]:
    """The tables of added tokens: found before, or after, the text is normalized."""
    rows: list[int] = []
    tries: dict[bool, dict[bytes, int]] = {False: {}, True: {}}
    for token in sorted(given["added_tokens"], key=lambda t: (not t["special"], t["id"])):
        content = token["content"]
        if token["normalized"] and tokenizer.normalizer is not None:
            content = tokenizer.normalizer.normalize_str(content)
        if not content:
            raise UnsupportedError(f"added token `{token['content']}` is normalized to nothing")
        flags = SINGLE_WORD * token["single_word"] | LEFT * token["lstrip"]
        tries[token["normalized"]].setdefault(content.encode(), len(rows) // 2)
        rows += [token["id"], flags | RIGHT * token["rstrip"]]
    return {
        "added": tables.words32(rows),
        "added_raw": tables.trie(tries[False]) if tries[False] else NONE,
        "added_normalized": tables.trie(tries[True]) if tries[True] else NONE,
        "characters": tables.classes(unicode.characters()),
    }


def processor(step: Json | None, tokenizer: Tokenizer, names: list[str], tables: Tables) -> Any:
    """The tokens around a text, and how offsets are trimmed."""
    frame = [FIRST, 0]
    flags = 0
    for part in _flat(step):
        kind = part["type"]
        if kind in ("ByteLevel", "RobertaProcessing") and part["trim_offsets"]:
            if flags or len(frame) > 2:
                raise UnsupportedError(f"post-processor {kind} behind another is not compiled")
            flags = TRIM | TRIM_KEEPS_ONE * bool(part["add_prefix_space"])
        if kind == "ByteLevel":
            continue
        if len(frame) > 2 or kind not in FRAMES:
            raise UnsupportedError(f"post-processor {kind} is not compiled")
        frame = FRAMES[kind](part)
    found = {"flags": flags, "frame": tables.words32(frame)}
    if flags & TRIM:
        space = byte_letters()[ord(" ")]
        white = ~unicode.kept_by("whitespace")

        def spaces(text: str) -> int:
            is_space = [c == space or bool(white[ord(c)]) for c in text]
            return next((i for i, yes in enumerate(is_space) if not yes), len(text))

        counts = [min(255, n) for t in names for n in (spaces(t), spaces(t[::-1]))]
        found["trims"] = tables.add("bytes", bytes(counts))
    return found


def _flat(step: Json | None) -> list[Json]:
    if step is None:
        return []
    if step["type"] == "Sequence":
        return [inner for part in step["processors"] for inner in _flat(part)]
    return [step]


def _template(part: Json) -> list[int]:
    frame: list[int] = []
    for piece in part["single"]:
        if "Sequence" in piece:
            if piece["Sequence"]["id"] != "A":
                raise UnsupportedError("post-processor TemplateProcessing puts B into one text")
            frame += [FIRST, 0]
        else:
            for token in part["special_tokens"][piece["SpecialToken"]["id"]]["ids"]:
                frame += [TOKEN, token]
    if frame[::2].count(FIRST) != 1 or len(frame) > 100:
        raise UnsupportedError("post-processor TemplateProcessing does not hold the text once")
    return frame


def _between(part: Json) -> list[int]:
    return [TOKEN, part["cls"][1], FIRST, 0, TOKEN, part["sep"][1]]


FRAMES: dict[str, Callable[[Json], list[int]]] = {
    "TemplateProcessing": _template,
    "BertProcessing": _between,
    "RobertaProcessing": _between,
}


def decoder(
    step: Json | None, tokenizer: Tokenizer, names: list[str | None], tables: Tables
) -> dict[str, int]:
    """What each token adds to a text: as the first one, and behind another."""
    parts = _chain(step)
    kinds = [part["type"] for part in parts]
    special = {t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special}
    flags = [0 if n is None else KNOWN | SPECIAL * (n in special) for n in names]
    info: dict[str, int] = {"strip_left": 0, "strip_byte": 0, "flags": 0}
    if kinds == ["ByteLevel"]:
        letters = {letter: byte for byte, letter in byte_letters().items()}

        def spelled(name: str) -> bytes:
            known = all(c in letters for c in name)
            return bytes(letters[c] for c in name) if known else name.encode()

        first = rest = [spelled(n or "") for n in names]
        info["flags"] = LOSSY
    elif "ByteFallback" in kinds:
        first = rest = _fallback(parts, kinds, names, flags, info)
    elif step is None:
        first = [(n or "").encode() for n in names]
        rest = [b" " + text for text in first]
    elif all(kind in ("WordPiece", "Metaspace", "Replace", "Fuse") for kind in kinds):
        if "Fuse" in kinds[:-1] or len([k for k in kinds if k != "Fuse"]) > 1:
            raise UnsupportedError(f"decoders {', '.join(kinds)} together are not compiled")
        whole = tokenizer.decoder
        first = [whole.decode([n or ""]).encode() for n in names]
        rest = [whole.decode(["", n or ""]).encode() for n in names]
    else:
        raise UnsupportedError(f"decoder {', '.join(kinds)} is not compiled")
    info["rest_pieces"] = tables.strings(rest)
    info["first_pieces"] = NONE if first == rest else tables.strings(first)
    info["piece_flags"] = tables.add("bytes", bytes(flags))
    return info


def _chain(step: Json | None) -> list[Json]:
    if step is None:
        return []
    if step["type"] == "Sequence":
        return [inner for part in step["decoders"] for inner in _chain(part)]
    return [step]


def _fallback(
    parts: list[Json],
    kinds: list[str],
    names: list[str | None],
    flags: list[int],
    info: dict[str, int],
) -> list[bytes]:
    """Replace, ByteFallback, Fuse, Strip: the decoder of SentencePiece's BPE."""
    at = kinds.index("ByteFallback")
    if any(kind != "Replace" for kind in kinds[:at]):
        raise UnsupportedError(f"decoder {', '.join(kinds)} is not compiled")
    texts = [n or "" for n in names]
    for part in parts[:at]:
        kind, pattern = next(iter(part["pattern"].items()))
        if kind != "String":
            raise UnsupportedError("decoder Replace of an expression is not compiled")
        texts = [text.replace(pattern, part["content"]) for text in texts]
    pieces = [text.encode() for text in texts]
    for index, text in enumerate(texts):
        if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            try:
                pieces[index] = bytes([int(text[3:5], 16)])
            except ValueError:
                continue
            flags[index] |= BYTE
    rest = kinds[at + 1 :]
    if rest == ["Fuse", "Strip"] and parts[-1]["stop"] == 0 and ord(parts[-1]["content"]) < 128:
        info["strip_left"], info["strip_byte"] = parts[-1]["start"], ord(parts[-1]["content"])
    elif rest not in (["Fuse"], []):
        raise UnsupportedError(f"decoder {', '.join(kinds)} is not compiled")
    return pieces
