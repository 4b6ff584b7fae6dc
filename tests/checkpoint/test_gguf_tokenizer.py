"""Tokenizers out of GGUF: the same ids as transformers and as llama.cpp's own test files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smelt.errors import CheckpointError, SmeltError, UnsupportedError
from smelt.frontend.checkpoint import open_checkpoint
from smelt.frontend.checkpoint.gguf_file import GgufFile
from smelt.frontend.checkpoint.gguf_tokenizer import SPLITS, tokenizer_files
from tests import models

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")

TEXTS = (
    "Hello world",
    " leading and trailing ",
    "  two  spaces\t\ttabs\n\n\nlines \r\n end",
    "it's I'LL don't 12345 3.14 1,000,000",
    "你好，世界 こんにちは 안녕 Привет हिन्दी 🙂👩\u200d👩\u200d👧",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>x",
    "def f(x):\n    return x**2  # ok?!",
    "\u00e9 e\u0301 \ufb01 \u00a0 \u200b",
    "",
    " ",
    "\n",
)


def real(fetch: Any) -> Path:
    try:
        path: Path = fetch()
    except models.ModelUnavailable as error:
        pytest.skip(str(error))
    return path


def test_ids_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    path = real(models.smollm2_gguf)
    wanted = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    checkpoint = open_checkpoint(path)
    found = tokenizers.Tokenizer.from_str(checkpoint.tokenizer_file("tokenizer.json").decode())
    for text in TEXTS:
        ids = found.encode(text).ids
        assert ids == wanted(text)["input_ids"], text
        assert found.decode(ids, skip_special_tokens=False) == wanted.decode(ids), text
    config = json.loads(checkpoint.tokenizer_file("tokenizer_config.json"))
    assert config["bos_token"] == wanted.bos_token and config["eos_token"] == wanted.eos_token
    assert checkpoint.config["eos_token_id"] == wanted.eos_token_id
    assert checkpoint.tokenizer_file("chat_template.jinja").decode() == wanted.chat_template


@pytest.mark.parametrize("name", models.LLAMA_CPP_VOCABULARIES)
def test_ids_are_those_of_llama_cpp(name: str) -> None:
    path = real(models.llama_cpp_vocabularies) / f"ggml-vocab-{name}.gguf"
    files = tokenizer_files(GgufFile(path).metadata, path.name)
    found = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode())
    texts = path.with_name(f"{path.name}.inp").read_bytes().decode()
    lines = path.with_name(f"{path.name}.out").read_text().splitlines()
    assert len(lines) > 40
    for text, line in zip(texts.split("\n__ggml_vocab_test__\n"), lines, strict=False):
        ids = found.encode(text, add_special_tokens=False).ids
        assert ids == [int(word) for word in line.split()], text


def test_stories_tokenizer_is_llamas() -> None:
    folder = real(models.stories15m)
    found = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert found.encode("Once upon a time").ids == [1, 9038, 2501, 263, 931]
    assert found.encode("\n🙂").ids == [1, 29871, 13, 243, 162, 156, 133]
    for text in TEXTS[:5]:
        assert found.decode(found.encode(text).ids).strip() == text.strip()


def vocabulary(**changes: Any) -> dict[str, Any]:
    """The smallest byte-level vocabulary that has a first and a last token."""
    keys = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": ["<s>", "</s>", "a", "b", "ab", "\u0120"],
        "token_type": [3, 3, 1, 1, 1, 1],
        "merges": ["a b"],
        "bos_token_id": 0,
        "eos_token_id": 1,
        **changes,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items() if value is not None}


def ids(text: str, **changes: Any) -> list[int]:
    files = tokenizer_files(vocabulary(**changes), "test")
    found: list[int] = (
        tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode()).encode(text).ids
    )
    return found


def test_flags_decide_the_first_and_the_last_token() -> None:
    assert ids("ab a") == [4, 5, 2]
    assert ids("ab", add_bos_token=True) == [0, 4]
    assert ids("ab", add_eos_token=True) == [4, 1]
    assert ids("ab", pre="llama-bpe") == [0, 4]
    assert ids("ab", pre="llama-bpe", add_bos_token=False) == [4]
    assert ids("a</s>b") == [2, 1, 3]


def test_no_tokenizer_is_no_file() -> None:
    assert tokenizer_files({}, "test") == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "t5"},
        {"model": 3},
        {"pre": "klingon"},
        {"pre": 3},
        {"tokens": None},
        {"tokens": [1, 2]},
        {"tokens": "abc"},
        {"token_type": [1]},
        {"token_type": ["x"] * 6},
        {"merges": [3]},
        {"bos_token_id": 6},
        {"eos_token_id": -1},
        {"eos_token_id": "</s>"},
        {"add_bos_token": "yes"},
    ],
    ids=str,
)
def test_damaged_vocabularies_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SmeltError):
        tokenizer_files(vocabulary(**changes), "test")


def test_the_unreadable_says_what_to_do() -> None:
    with pytest.raises(CheckpointError, match="no tokens"):
        tokenizer_files(vocabulary(tokens=[], token_type=[]), "test")
    with pytest.raises(UnsupportedError, match="klingon") as caught:
        tokenizer_files(vocabulary(pre="klingon"), "test")
    assert "Hugging Face directory" in str(caught.value)


@pytest.mark.parametrize("pre", SPLITS)
def test_every_split_is_an_expression_that_tokenizers_takes(pre: str) -> None:
    assert ids("ab ab", pre=pre, add_bos_token=False)
