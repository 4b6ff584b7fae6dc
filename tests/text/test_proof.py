"""The certificate says how the compiled tokenizer and chat template compare with the libraries."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, pre_tokenizers

import smelt
from smelt import text_proof
from smelt.errors import ParityError
from smelt.frontend import template, tokenizer
from smelt.frontend.tokenizer.tables import KINDS, NONE
from smelt.inspecting import overview
from smelt.runtime import _edge
from smelt.runtime.artifact import TOKENIZER, open_artifact
from smelt.text_samples import Bag, broken, strings
from smelt.tokenizer_proof import compare_tokenizer
from smelt.verifying import verify_artifact
from tests import tiny
from tests.text.chats import TEMPLATES
from tests.text.test_compiled import CASES, word_level

CHAT = TEMPLATES["chatml"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tiny.llama(tmp_path / "model", vocab_size=1024)
    CASES["gpt2"]().save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(CHAT)
    return folder


def without_merge(rank: int) -> Callable[..., bytes]:
    """A faulty `compile_tokenizer`."""
    right = tokenizer.compile_tokenizer
    return lambda library: damage(right(library), rank)


def damage(tables: bytes, rank: int) -> bytes:
    """The tables without the merge of that rank."""
    (count,) = struct.unpack_from("<I", tables, 12)
    changed = bytearray(tables)
    for kind, offset, size, _ in struct.iter_unpack("<4I", tables[32 : 32 + 16 * count]):
        if KINDS[kind] != "pairs":
            continue
        for at in range(offset + 16, offset + size, 16):
            if struct.unpack_from("<I", tables, at + 8)[0] == rank:
                struct.pack_into("<I", changed, at + 8, NONE)
    assert changed != tables
    return bytes(changed)


def test_certificate_holds_the_counts_and_verify_repeats_them(
    checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.smelt"
    made = smelt.compile(checkpoint, target="edge", out=out)
    assert made.manifest.certificate is not None
    words, chat = made.manifest.certificate.text
    assert words.part == "tokenizer" and words.library.startswith("tokenizers ")
    assert words.compared == text_proof.STRINGS and words.sequences == text_proof.STRINGS // 4
    assert chat.part == "chat template default" and chat.compared >= 24
    assert words.differences == chat.differences == 0
    found = verify_artifact(out)
    assert found["text"] == [words.model_dump(mode="json"), chat.model_dump(mode="json")]
    assert f"tokenizer: {words.compared} strings, 0 differences" in overview(made.manifest, 1)


def test_other_targets_compile_no_text(checkpoint: Path, tmp_path: Path) -> None:
    made = smelt.compile(checkpoint, target="torch", out=tmp_path / "out")
    assert made.manifest.certificate is not None and made.manifest.certificate.text == ()
    assert verify_artifact(tmp_path / "out")["text"] == []


@pytest.mark.parametrize("rank", [0, 60, 300])
def test_a_lost_merge_fails_the_compile(
    rank: int, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "compile_tokenizer", without_merge(rank))
    with pytest.raises(ParityError, match="compiled tokenizer differs: ids of ") as found:
        smelt.compile(checkpoint, target="edge", out=tmp_path / "out.smelt")
    assert found.value.place == TOKENIZER and found.value.message.isascii()
    assert "compiled [" in found.value.message and "`tokenizers` [" in found.value.message
    assert not (tmp_path / "out.smelt").exists()


def test_a_changed_letter_of_the_template_fails_the_compile(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = template.compile_template

    def wrong(source: str, *given: Any, **options: Any) -> bytes:
        return right(source.replace("assistant", "asistant"), *given, **options)

    monkeypatch.setattr(template, "compile_template", wrong)
    with pytest.raises(ParityError, match="compiled chat template default differs for ") as found:
        smelt.compile(checkpoint, target="edge", out=tmp_path / "out.smelt")
    assert "asistant" in found.value.message


def test_verify_finds_tables_that_were_wrong_when_they_were_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.smelt"
    with monkeypatch.context() as faulty:
        faulty.setattr(tokenizer, "compile_tokenizer", without_merge(0))
        faulty.setattr(text_proof, "prove_text", lambda path: ())
        smelt.compile(checkpoint, target="edge", out=out)
    with pytest.raises(ParityError, match="compiled tokenizer differs"):
        verify_artifact(out)


def test_what_is_not_compiled_is_said(checkpoint: Path, tmp_path: Path) -> None:
    word_level(pre_tokenizers.UnicodeScripts()).save(str(checkpoint / "tokenizer.json"))
    (checkpoint / "chat_template.jinja").write_text("{{ messages | wordcount }}")
    made = smelt.compile(checkpoint, target="edge", out=tmp_path / "out.smelt")
    assert made.manifest.certificate is not None
    checks = made.manifest.certificate.text
    assert not open_artifact(tmp_path / "out.smelt").holds(TOKENIZER)
    assert "UnicodeScripts" in checks[0].not_compiled and checks[0].compared == 0
    assert "wordcount" in checks[1].not_compiled
    assert "tokenizer: not compiled: " in overview(made.manifest, 1)


def test_samples_are_the_same_again_and_hold_what_they_should() -> None:
    bag = Bag(["<|end|>"], ["hello world"])
    made = [*strings(3000, 3, bag)]
    assert made == [*strings(3000, 3, bag)] and made != [*strings(3000, 4, bag)]
    together = "".join(made)
    wanted = ("<|end|>", "hello world", "\u200d", "\u2003", "\u0301", "\ud55c", "0x1F", "https://")
    assert all(part in together for part in wanted)
    assert len({ord(c) >> 7 for c in together}) > 300, "blocks of characters"
    raw = [*broken(300, 3, bag)]
    assert raw == [*broken(300, 3, bag)]
    assert sum(b"\xef\xbf\xbd" in text.decode("utf-8", "replace").encode() for text in raw) > 150


@pytest.mark.parametrize("name", ["gpt2", "sentencepiece", "bert", "unigram"])
def test_two_words_that_changed_places_are_found_in_every_model(name: str) -> None:
    library = CASES[name]()
    given = json.loads(library.to_str())
    vocab = given["model"]["vocab"]
    a, b = (len(vocab) * 2 // 3, len(vocab) * 2 // 3 + 1)
    if isinstance(vocab, list):
        vocab[a], vocab[b] = vocab[b], vocab[a]
    else:
        words = sorted(vocab, key=vocab.__getitem__)
        vocab[words[a]], vocab[words[b]] = b, a
    other = Tokenizer.from_str(json.dumps(given))
    right, wrong = (
        _edge.Tokenizer.open(tokenizer.compile_tokenizer(each)) for each in (library, other)
    )
    same = compare_tokenizer(library, right, 1000, 1)
    assert not same.differences and same.strings == 1000 and same.sequences == 250
    assert compare_tokenizer(library, wrong, 1000, 1).differences
