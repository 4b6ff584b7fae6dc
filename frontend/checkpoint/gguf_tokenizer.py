"""The tokenizer inside a GGUF file, as the files that a Hugging Face directory has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smelt.errors import CheckpointError, UnsupportedError
from smelt.frontend.checkpoint.sentencepiece_bpe import (
    CONTROL,
    NORMAL,
    SPACE,
    UNKNOWN,
    USER_DEFINED,
    added_token,
    sentencepiece_tokenizer,
    template,
)
from smelt.frontend.checkpoint.sizes import short

# The expressions and normalizers of the models' own tokenizer.json (llama.cpp drops normalizers);
# each expression splits what the one before left.
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ENDINGS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + ENDINGS
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + ENDINGS
QWEN35 = (
    CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BEFORE = r"[^\r\n\p{L}\p{N}]?"
TEKKEN = f"{BEFORE}{UPPER}*{LOWER}+|{BEFORE}{UPPER}+{LOWER}*" + r"|\p{N}|" + SLASHED
GPT4O = (
    f"{BEFORE}{UPPER}*{LOWER}+{CONTRACTIONS}?|{BEFORE}{UPPER}+{LOWER}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}|" + SLASHED
)
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Split:
    """How a byte-level vocabulary wants its text cut before merging."""

    patterns: tuple[str, ...]
    whole_words: bool = False  # a word that is in the vocabulary is not merged from its letters
    add_bos: bool = False
    normalizer: str | None = None


PLAIN = Split((GPT2,))
DIGITS = Split((r"\p{N}", GPT2))
LLAMA3_SPLIT = Split((LLAMA3,), whole_words=True, add_bos=True)
QWEN2_SPLIT = Split((QWEN2,), normalizer="NFC")

#: By `tokenizer.ggml.pre`.
SPLITS: dict[str, Split] = {
    "default": Split(
        (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    ),
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "exaone4"), PLAIN),
    **dict.fromkeys(
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"), DIGITS
    ),
    **dict.fromkeys(
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2"), LLAMA3_SPLIT
    ),
    **dict.fromkeys(("dbrx", "smaug-bpe", "chatglm-bpe"), Split((LLAMA3,))),
    "glm4": Split((LLAMA3,), whole_words=True),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez"), QWEN2_SPLIT),
    "stablelm2": Split((QWEN2,)),
    "qwen35": Split((QWEN35,), normalizer="NFC"),
    "tekken": Split((TEKKEN,), whole_words=True, add_bos=True),
    **dict.fromkeys(("gpt-4o", "llama4"), Split((GPT4O,), whole_words=True)),
    "deepseek-v3": Split((r"\p{N}{1,3}", r"[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK3)),
    "deepseek-coder": Split(
        (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-\uD7FF]+", r"\p{N}"),
    ),
    "falcon": Split((r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]")),
}

ROLES = {
    "bos_token": "tokenizer.ggml.bos_token_id",
    "eos_token": "tokenizer.ggml.eos_token_id",
    "unk_token": "tokenizer.ggml.unknown_token_id",
    "pad_token": "tokenizer.ggml.padding_token_id",
}


class Vocabulary:
    """The tokenizer keys of a GGUF file, checked against one another."""

    def __init__(self, metadata: Mapping[str, Any], place: str) -> None:
        self.metadata = metadata
        self.place = place
        self.tokens = self.strings("tokenizer.ggml.tokens")
        if not self.tokens:
            raise CheckpointError("the file has no tokens", place=place)
        types = metadata.get("tokenizer.ggml.token_type") or [NORMAL] * len(self.tokens)
        scores = metadata.get("tokenizer.ggml.scores") or [0.0] * len(self.tokens)
        self.types, self.scores = self.numbers(types, int), self.numbers(scores, float)

    def strings(self, key: str) -> list[str]:
        """A list of strings, empty when the key is missing."""
        value = self.metadata.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise CheckpointError(f"`{key}` is not a list of strings", place=self.place)
        return value

    def numbers(self, value: Any, kind: type) -> list[Any]:
        """A list of one number a token."""
        if not isinstance(value, list) or len(value) != len(self.tokens):
            raise CheckpointError(
                f"the tokenizer has {len(self.tokens)} tokens, but another list is not as long",
                place=self.place,
            )
        if not all(type(item) is kind for item in value):
            raise CheckpointError("token types or scores are not numbers", place=self.place)
        return value

    def id(self, key: str) -> int | None:
        """A token id, None when the key is missing."""
        value = self.metadata.get(key)
        if value is None:
            return None
        if type(value) is not int or not 0 <= value < len(self.tokens):
            raise CheckpointError(
                f"`{key}` is {short(value)}, but there are {len(self.tokens)} tokens",
                place=self.place,
            )
        return value

    def flag(self, key: str, default: bool) -> bool:
        """A boolean key."""
        value = self.metadata.get(key, default)
        if not isinstance(value, bool):
            raise CheckpointError(f"`{key}` is {short(value)}, wants a boolean", place=self.place)
        return value


def tokenizer_files(metadata: Mapping[str, Any], place: str) -> dict[str, bytes]:
    """tokenizer.json, tokenizer_config.json and chat_template.jinja; none without a tokenizer."""
    model = metadata.get("tokenizer.ggml.model")
    if model is None or model == "none":
        return {}
    if model not in ("gpt2", "llama"):
        raise UnsupportedError(
            f"a {short(model)} tokenizer cannot be read from GGUF",
            place=place,
            hint="compile from the Hugging Face directory, which has a tokenizer.json",
        )
    vocabulary = Vocabulary(metadata, place)
    add_bos = add_bos_of(vocabulary, model)
    add_eos = vocabulary.flag("tokenizer.ggml.add_eos_token", False)
    build = byte_level if model == "gpt2" else sentencepiece
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_bos_token": add_bos,
        "add_eos_token": add_eos,
    }
    for role, key in ROLES.items():
        index = vocabulary.id(key)
        if index is not None:
            config[role] = vocabulary.tokens[index]
    files = {
        "tokenizer.json": dump(build(vocabulary, add_bos, add_eos)),
        "tokenizer_config.json": dump(config),
    }
    chat = metadata.get("tokenizer.chat_template")
    if isinstance(chat, str):
        files["chat_template.jinja"] = chat.encode()
    return files


def split_of(vocabulary: Vocabulary) -> Split:
    """The row of `SPLITS` that the file asks for."""
    name = vocabulary.metadata.get("tokenizer.ggml.pre", "default")
    split = SPLITS.get(name) if isinstance(name, str) else None
    if split is None:
        raise UnsupportedError(
            f"pre-tokenizer {short(name)} is unknown",
            place=vocabulary.place,
            hint="compile from the Hugging Face directory, which has a tokenizer.json",
        )
    return split


def add_bos_of(vocabulary: Vocabulary, model: str) -> bool:
    """Whether a text starts with the first token; some vocabularies mean yes unasked."""
    default = model == "llama" or split_of(vocabulary).add_bos
    known = vocabulary.id("tokenizer.ggml.bos_token_id") is not None
    return known and vocabulary.flag("tokenizer.ggml.add_bos_token", default)


def byte_level(vocabulary: Vocabulary, add_bos: bool, add_eos: bool) -> dict[str, Any]:
    """The tokenizer.json of a byte-level BPE vocabulary ("gpt2")."""
    split = split_of(vocabulary)
    tokens, types = vocabulary.tokens, vocabulary.types
    bytes_of_text = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    cuts = [
        {"type": "Split", "pattern": {"Regex": text}, "behavior": "Isolated", "invert": False}
        for text in split.patterns
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added_token(index, token, special=types[index] == CONTROL)
            for index, token in enumerate(tokens)
            if types[index] in (CONTROL, USER_DEFINED)
        ],
        "normalizer": {"type": split.normalizer} if split.normalizer else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*cuts, bytes_of_text]},
        "post_processor": frame(vocabulary, add_bos, add_eos),
        "decoder": bytes_of_text,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": split.whole_words,
            "vocab": {token: index for index, token in reversed(list(enumerate(tokens)))},
            "merges": merges(vocabulary),
        },
    }


def merges(vocabulary: Vocabulary) -> list[list[str]]:
    """The merges of the file that make a known token out of two known tokens."""
    known = set(vocabulary.tokens)
    pairs = []
    for line in vocabulary.strings("tokenizer.ggml.merges"):
        cut = line.find(" ", 1)
        left, right = line[:cut], line[cut + 1 :]
        if cut > 0 and left in known and right in known and left + right in known:
            pairs.append([left, right])
    return pairs


def sentencepiece(vocabulary: Vocabulary, add_bos: bool, add_eos: bool) -> dict[str, Any]:
    """The tokenizer.json of a SentencePiece vocabulary ("llama")."""
    tokens = [
        token.replace(" ", SPACE) if token.isspace() and set(token) == {" "} else token
        for token in vocabulary.tokens
    ]
    unknown = vocabulary.id("tokenizer.ggml.unknown_token_id")
    if unknown is None:
        unknown = next((at for at, kind in enumerate(vocabulary.types) if kind == UNKNOWN), None)
    return sentencepiece_tokenizer(
        tokens,
        vocabulary.scores,
        vocabulary.types,
        bos=vocabulary.id("tokenizer.ggml.bos_token_id"),
        eos=vocabulary.id("tokenizer.ggml.eos_token_id"),
        unknown=unknown,
        add_bos=add_bos,
        add_eos=add_eos,
        space_prefix=vocabulary.flag("tokenizer.ggml.add_space_prefix", True),
    )


def frame(vocabulary: Vocabulary, add_bos: bool, add_eos: bool) -> dict[str, Any] | None:
    """The post-processor that adds the first and the last token."""
    bos = vocabulary.id("tokenizer.ggml.bos_token_id") if add_bos else None
    eos = vocabulary.id("tokenizer.ggml.eos_token_id") if add_eos else None
    return template(vocabulary.tokens, bos, eos)


def dump(value: Any) -> bytes:
    """JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False).encode()
