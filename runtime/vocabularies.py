"""A `tokenizer.json` for checkpoints that have only a slow tokenizer's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from smelt.errors import ArtifactError, UnsupportedError

SLOW_FILES = (
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
)
CONVERT = "AutoTokenizer.from_pretrained(..).save_pretrained(..) writes a tokenizer.json"


def tokenizer_json(files: Mapping[str, bytes]) -> bytes:
    """Build it from vocab.txt, or vocab.json and merges.txt; ArtifactError where neither is."""
    config: dict[str, Any] = json.loads(files.get("tokenizer_config.json", b"{}"))
    if "vocab.json" in files and "merges.txt" in files:
        return _byte_level_bpe(files, config)
    if "vocab.txt" in files:
        return _word_piece(files, config)
    for name in SLOW_FILES:
        if name in files and name.endswith(".model"):
            raise UnsupportedError(
                "the checkpoint has only a SentencePiece model",
                place=name,
                hint=CONVERT,
            )
    raise ArtifactError(
        "no tokenizer among the files",
        hint=f"wants tokenizer.json, or one of {', '.join(SLOW_FILES)}",
    )


def _word_piece(files: Mapping[str, bytes], config: Mapping[str, Any]) -> bytes:
    """BERT's: lower case and no accents unless the config says otherwise."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    lines = files["vocab.txt"].decode("utf-8").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    vocab = {line.rstrip("\r"): index for index, line in enumerate(lines)}
    unknown, sep, cls = (
        _token(config, key, default)
        for key, default in (
            ("unk_token", "[UNK]"),
            ("sep_token", "[SEP]"),
            ("cls_token", "[CLS]"),
        )
    )
    _require(vocab, (unknown, sep, cls), "vocab.txt")
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=unknown, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, vocab[cls]), (sep, vocab[sep])],
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    names = (unknown, sep, cls, _token(config, "pad_token", "[PAD]"))
    marks = (*names, _token(config, "mask_token", "[MASK]"))
    tokenizer.add_special_tokens([name for name in marks if name in vocab])
    return bytes(tokenizer.to_str().encode())


def _byte_level_bpe(files: Mapping[str, bytes], config: Mapping[str, Any]) -> bytes:
    """GPT-2's: bytes as letters, merges by rank."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    vocab = json.loads(files["vocab.json"])
    merges = []
    for number, line in enumerate(files["merges.txt"].decode("utf-8").splitlines(), 1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = line.split(" ")
        if len(pair) != 2:
            raise ArtifactError(
                f"a merge has {len(pair)} parts, wants 2", place=f"merges.txt:{number}"
            )
        merges.append((pair[0], pair[1]))
    kind = str(config.get("tokenizer_class", "GPT2Tokenizer"))
    if not kind.startswith(("GPT2", "Roberta")):
        raise UnsupportedError(
            f"vocab.json with merges.txt is read for GPT-2 and its kin, not for {kind}",
            place="tokenizer_config.json",
            hint=CONVERT,
        )
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    space = bool(config.get("add_prefix_space", False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if kind.startswith("Roberta"):
        cls, sep = _token(config, "cls_token", "<s>"), _token(config, "sep_token", "</s>")
        _require(vocab, (cls, sep), "vocab.json")
        # Positional: the parameter's name `cls` is unknown to the library's own type stubs.
        tokenizer.post_processor = processors.RobertaProcessing(
            (sep, vocab[sep]), (cls, vocab[cls]), True, space
        )
    keys = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")
    marks = {_token(config, key, "<|endoftext|>") for key in keys}
    tokenizer.add_special_tokens(
        [AddedToken(m, special=True, normalized=False) for m in sorted(marks) if m in vocab]
    )
    return bytes(tokenizer.to_str().encode())


def _token(config: Mapping[str, Any], key: str, default: str) -> str:
    value = config.get(key)
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else default


def _require(vocab: Mapping[str, int], names: tuple[str, ...], place: str) -> None:
    for name in names:
        if name not in vocab:
            raise ArtifactError(f"vocabulary lacks the token `{name}`", place=place)
