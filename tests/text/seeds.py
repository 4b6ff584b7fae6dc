"""The small compiled tokenizers from which `runtime/cpp/tests/text_test.cc` starts.

python -m tests.text.seeds     writes them again; a test says when that is due

Their tables repeat themselves, so they are stored packed: u32 size, then groups of u16 plain bytes,
u16 bytes to copy, u32 how far back those lie, and the plain bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors
from tokenizers import pre_tokenizers as splits

from smelt.frontend.tokenizer import compile_tokenizer

FOLDER = Path(__file__).parents[2] / "runtime" / "cpp" / "tests" / "seeds"
LARGEST = 80_000  # bytes: they are committed
ADDED = [
    AddedToken("<b>", lstrip=True, rstrip=True, normalized=False),
    AddedToken("été", single_word=True, normalized=True),
    AddedToken("<|end|>", special=True, normalized=False),
]
BYTES = [f"<0x{b:02X}>" for b in range(256)]


def pairs() -> Tokenizer:
    """BPE over bytes: an expression that looks ahead, NFC, and trimmed offsets."""
    letters = sorted(splits.ByteLevel.alphabet())
    merges = [
        ("h", "e"),
        ("l", "l"),
        ("he", "ll"),
        ("hell", "o"),
        ("Ġ", "w"),
        ("Ġw", "o"),
        ("Ã", "©"),
    ]
    words = [*letters, *(a + b for a, b in merges)]
    made = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, merges))
    made.normalizer = normalizers.NFC()
    cut = splits.Split(Regex(r"'s|[^\W\d]+| ?\w+|\s+(?!\S)|\s+$|\s"), "isolated")
    made.pre_tokenizer = splits.Sequence([cut, splits.ByteLevel(False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=True)
    made.add_tokens(ADDED)
    return made


def fallback() -> Tokenizer:
    """BPE over characters that falls back to bytes, with a prefix and a replaced expression."""
    merges = [("▁", "h"), ("▁h", "i"), ("a", "b"), ("ab", "ab")]
    words = ["<unk>", *BYTES, *"▁hiabé世", *(a + b for a, b in merges)]
    vocab = {w: i for i, w in enumerate(words)}
    made = Tokenizer(
        models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    made.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
            normalizers.Prepend("▁"),
            normalizers.Replace(" ", "▁"),
        ]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.add_special_tokens(["<|end|>"])
    made.post_processor = processors.TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", made.token_to_id("<|end|>"))]
    )
    return made


def pieces() -> Tokenizer:
    """WordPiece behind a lower-casing normalizer."""
    words = ["[UNK]", "[CLS]", "[SEP]", "hello", "wo", "##rld", "##s", "e", "##e", ",", "世"]
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])
    made.pre_tokenizer = splits.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    made.add_tokens(ADDED)
    return made


def small_charsmap() -> Any:
    """A map as SentencePiece would compile it: some marks vanish, some characters become others."""
    texts = {b"\xcc": "", b"A": "a", b"f": "", b"\xef\xac\x81": "fi", b"\xc3": "ae", b"\r": " "}
    texts |= {"각".encode(): "x", "☺".encode(): ":)", "क".encode(): "k", "\u200d".encode(): ""}
    units = [0] * 256 * (2 + sum(map(len, texts)))
    blocks = iter(range(1, len(units) // 256))
    places: dict[bytes, int] = {b"": next(blocks)}
    units[0] = places[b""] << 18
    blob = b""
    for key, text in texts.items():
        for size in range(1, len(key) + 1):
            part = key[:size]
            at = places[part[:-1]] << 8 ^ part[-1]
            if part not in places:
                places[part] = next(blocks)
                # A unit leads to its block: xor, so the own place has to be taken out again.
                units[at] = (places[part] << 8 ^ at) << 10 | part[-1]
        units[at] |= 1 << 8
        units[places[key] << 8] = 1 << 31 | len(blob)
        blob += text.encode() + b"\0"
    return normalizers.Precompiled(struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + blob)


def scores() -> Tokenizer:
    """Unigram behind Metaspace and a map of characters."""
    rows = [("<unk>", 0.0), ("▁", -2.0), ("▁he", -3.0), ("llo", -3.5), ("l", -4.0), ("o", -4.5)]
    made = Tokenizer(models.Unigram([*rows, ("▁hello", -9.0), ("é", -5.0)], 0, False))
    made.normalizer = small_charsmap()
    made.pre_tokenizer = splits.Metaspace()
    made.decoder = decoders.Metaspace()
    return made


SEEDS: dict[str, Callable[[], Tokenizer]] = {
    "pairs.text": pairs,
    "fallback.text": fallback,
    "pieces.text": pieces,
    "scores.text": scores,
}


def packed(name: str) -> bytes:
    """The seed of that name, as it is stored."""
    return pack(compile_tokenizer(SEEDS[name]()))


def pack(data: bytes) -> bytes:
    """Bytes with repetitions as references to what came before."""
    out = [struct.pack("<I", len(data))]
    seen: dict[bytes, int] = {}
    plain = at = 0
    while at < len(data):
        key = data[at : at + 8]
        back = at - seen.get(key, at)
        seen[key] = at
        size = 0
        while (
            back
            and size < 0xFFFF
            and data[at + size : at + size + 1]
            == data[at - back + size : at - back + size + 1]
            != b""
        ):
            size += 1
        if size < 12 and at - plain < 0xFFFF and at + 1 < len(data):
            at += 1
            continue
        size = size if size >= 12 else 0
        end = at if size else at + 1
        out += [struct.pack("<HHI", end - plain, size, back if size else 0), data[plain:end]]
        at = plain = end + size
    return b"".join(out)


if __name__ == "__main__":
    for name in SEEDS:
        FOLDER.joinpath(name).write_bytes(packed(name))
