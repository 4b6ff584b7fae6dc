"""Compiled tokenizers give the ids, offsets and texts of the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    processors,
    trainers,
)
from tokenizers import pre_tokenizers as splits

from smelt.errors import UnsupportedError
from smelt.frontend.tokenizer import compile_tokenizer
from smelt.runtime import _edge
from smelt.text_samples import SENTENCES, strings
from tests import models as real_models
from tests.text import seeds
from tests.text.compare import compare, load
from tests.text.vocabularies import FAMILIES, OF_MODELS

CHARSET = sorted(splits.ByteLevel.alphabet())
#: Strings for each case; `python -m tests.text.compare --count 1000000` tries more.
COUNT = 200
BYTES = [f"<0x{b:02X}>" for b in range(256)]


def byte_level(splitter: Any = None, **options: Any) -> Tokenizer:
    """A small byte-level BPE tokenizer, trained on the sentences."""
    made = Tokenizer(models.BPE())
    last = splits.ByteLevel(add_prefix_space=False, use_regex=splitter is None)
    made.pre_tokenizer = last if splitter is None else splits.Sequence([splitter, last])
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        initial_alphabet=CHARSET,
        show_progress=False,
        special_tokens=["<s>", "</s>"],
    )
    made.train_from_iterator(SENTENCES * 2, trainer)
    return with_options(made, **options)


def suffixed() -> Tokenizer:
    """BPE whose last letters are marked, as CLIP's are."""
    made = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix="@"))
    made.pre_tokenizer = splits.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        initial_alphabet=CHARSET,
        end_of_word_suffix="</w>",
        continuing_subword_prefix="@",
        show_progress=False,
    )
    made.train_from_iterator(SENTENCES * 2, trainer)
    made.decoder = decoders.ByteLevel()
    return made


def with_options(made: Tokenizer, **options: Any) -> Tokenizer:
    """The tokenizer with other parts."""
    added = options.pop("added", ())
    for name, part in options.items():
        setattr(made, name, part)
    made.add_tokens(list(added))
    return made


def word_piece(**options: Any) -> Tokenizer:
    """A small WordPiece tokenizer."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30))
    made.normalizer = options.pop("normalizer", normalizers.BertNormalizer())
    made.pre_tokenizer = splits.BertPreTokenizer()
    marks = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=800, special_tokens=marks, show_progress=False, limit_alphabet=300
    )
    made.train_from_iterator(SENTENCES * 2, trainer)
    made.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    made.decoder = decoders.WordPiece()
    return with_options(made, **options)


def sentencepiece(normalizer: Any = None, splitter: Any = None, **model: Any) -> Tokenizer:
    """A small BPE tokenizer over characters with byte fallback."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizer or normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    if splitter is not None:
        made.pre_tokenizer = splitter
    trainer = trainers.BpeTrainer(
        vocab_size=900, limit_alphabet=200, show_progress=False, special_tokens=["<unk>", *BYTES]
    )
    words = [w for s in SENTENCES for w in s.split(" ")]
    made.train_from_iterator(words * 2, trainer)
    state = made.model
    state.byte_fallback = model.pop("byte_fallback", True)
    for name, value in model.items():
        setattr(state, name, value)
    made.model = state
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return made


def unigram(**options: Any) -> Tokenizer:
    """A small Unigram tokenizer."""
    fallback = options.pop("byte_fallback", False)
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = options.pop("pre_tokenizer", splits.Metaspace())
    trainer = trainers.UnigramTrainer(
        vocab_size=700,
        unk_token="<unk>",
        special_tokens=["<unk>", *(BYTES if fallback else ())],
        show_progress=False,
    )
    made.train_from_iterator(SENTENCES * 3, trainer)
    if fallback:
        rows = [(str(made.id_to_token(i)), -4.0 - i / 97) for i in range(made.get_vocab_size())]
        made.model = models.Unigram(rows, unk_id=0, byte_fallback=True)
    made.decoder = decoders.Metaspace()
    return with_options(made, **options)


def word_level(splitter: Any, normalizer: Any = None) -> Tokenizer:
    """Words as they are: what the splitter makes is seen at once."""
    pieces = [p for s in SENTENCES for p, _ in splitter.pre_tokenize_str(s)]
    vocab = {p: i for i, p in enumerate(dict.fromkeys(["<unk>", *pieces]))}
    made = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    made.pre_tokenizer = splitter
    if normalizer is not None:
        made.normalizer = normalizer
    return made


def normal(*steps: Any) -> Tokenizer:
    """A normalizer, seen through characters as tokens."""
    step = normalizers.Sequence(list(steps)) if len(steps) > 1 else steps[0]
    return word_level(splits.Split(Regex(r"[\s\S]"), "isolated"), step)


SPACES = (AddedToken(" <a> ", normalized=False), AddedToken("<b>", lstrip=True, rstrip=True))
WORDS = (AddedToken("the", single_word=True), AddedToken("ÉTÉ", normalized=True, single_word=True))
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
ROBERTA = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), True, True)
TEMPLATE = processors.TemplateProcessing(
    single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
)
BEHAVIORS = ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")

CASES: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": byte_level,
    "cl100k": lambda: byte_level(splits.Split(Regex(CL100K), "isolated")),
    "digits": lambda: byte_level(splits.Digits(individual_digits=True)),
    "prefix space": lambda: byte_level(pre_tokenizer=splits.ByteLevel(add_prefix_space=True)),
    "trimmed": lambda: byte_level(post_processor=processors.ByteLevel(trim_offsets=True)),
    "roberta": lambda: byte_level(
        post_processor=ROBERTA, pre_tokenizer=splits.ByteLevel(add_prefix_space=True)
    ),
    "template": lambda: byte_level(post_processor=TEMPLATE),
    "suffix": suffixed,
    "nfc": lambda: byte_level(normalizer=normalizers.NFC()),
    "added": lambda: byte_level(added=[*SPACES, *WORDS], normalizer=normalizers.Lowercase()),
    "bert": word_piece,
    "bert cased": lambda: word_piece(normalizer=normalizers.BertNormalizer(lowercase=False)),
    "bert accents": lambda: word_piece(
        normalizer=normalizers.BertNormalizer(lowercase=False, strip_accents=True)
    ),
    "bert added": lambda: word_piece(added=[*SPACES, *WORDS]),
    "sentencepiece": sentencepiece,
    "sentencepiece without bytes": lambda: sentencepiece(byte_fallback=False),
    "unfused": lambda: sentencepiece(byte_fallback=False, fuse_unk=False),
    "gemma": lambda: sentencepiece(
        normalizers.Replace(" ", "▁"), splits.Split(" ", "merged_with_previous")
    ),
    "metaspace": lambda: sentencepiece(normalizers.NFKC(), splits.Metaspace(split=False)),
    "first": lambda: sentencepiece(normalizers.NFKC(), splits.Metaspace(prepend_scheme="first")),
    "unigram": unigram,
    "unigram bytes": lambda: unigram(byte_fallback=True),
    "unigram t5": lambda: unigram(
        normalizer=normalizers.Sequence(
            [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
        )
    ),
    "whitespace": lambda: word_level(splits.Whitespace()),
    "whitespace split": lambda: word_level(splits.WhitespaceSplit()),
    "character": lambda: word_level(splits.CharDelimiterSplit("e")),
    "bert splits": lambda: word_level(splits.BertPreTokenizer()),
    "runs of digits": lambda: word_level(splits.Digits(individual_digits=False)),
    "sequence": lambda: word_level(
        splits.Sequence([splits.WhitespaceSplit(), splits.Punctuation("merged_with_next")])
    ),
    "inverted": lambda: word_level(splits.Split(Regex(r"\w+|\p{P}"), "removed", invert=True)),
    **{
        f"split {b}": lambda b=b: word_level(splits.Split(Regex(r"\s+|ab*?|[.,]$"), b))  # type: ignore[misc]
        for b in BEHAVIORS
    },
    **{f"punctuation {b}": lambda b=b: word_level(splits.Punctuation(b)) for b in BEHAVIORS},  # type: ignore[misc]
    **{
        name: lambda name=name: normal(getattr(normalizers, name)())  # type: ignore[misc]
        for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "Strip")
    },
    "strip accents": lambda: normal(
        normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.NFC()
    ),
    "charsmap": lambda: normal(seeds.small_charsmap()),
    "replace": lambda: normal(
        normalizers.Replace("ab", "xyz"), normalizers.Replace(Regex(r"\s+"), ""),
        normalizers.Prepend("¿¿"), normalizers.Strip(left=False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_component_equals_the_library(name: str) -> None:
    outcome = compare(CASES[name](), count=COUNT, seed=len(name))
    assert outcome.strings == COUNT and not outcome.differences, "\n".join(outcome.differences)


REAL = {vocabulary.name: vocabulary for vocabulary in (*FAMILIES, *OF_MODELS)}


@pytest.mark.parametrize("name", REAL)
def test_real_tokenizer_equals_the_library(name: str) -> None:
    try:
        path = REAL[name].fetch()
    except real_models.ModelUnavailable as error:
        pytest.skip(str(error))
    outcome = compare(load(path), count=5 * COUNT, seed=7)
    assert not outcome.differences, "\n".join(outcome.differences)


@pytest.mark.parametrize("name", ["gpt2", "sentencepiece", "bert", "unigram"])
def test_stream_shows_whole_characters_that_make_the_text(name: str) -> None:
    tokenizer = CASES[name]()
    compiled = _edge.Tokenizer.open(compile_tokenizer(tokenizer))
    for text in strings(COUNT, 3):
        ids, _ = compiled.encode(text.encode(), True, False)
        stream = _edge.TokenStream(compiled, True)
        shown = [*(stream.push(i) for i in ids), stream.flush()]
        assert "".join(part.decode() for part in shown) == compiled.decode(ids, True).decode()


def test_compiling_twice_gives_the_same_bytes() -> None:
    tokenizer = CASES["nfc"]()
    again = Tokenizer.from_str(tokenizer.to_str())
    assert compile_tokenizer(tokenizer) == compile_tokenizer(again)


REFUSED: dict[str, tuple[Callable[[], Tokenizer], str]] = {
    "scripts": (lambda: word_level(splits.UnicodeScripts()), "pre-tokenizer UnicodeScripts"),
    "bytes first": (
        lambda: with_options(
            byte_level(), pre_tokenizer=splits.Sequence([splits.ByteLevel(), splits.Digits()])
        ),
        "pre-tokenizer ByteLevel",
    ),
    "back reference": (lambda: word_level(splits.Split(Regex(r"(a)\1"), "isolated")), r"`\1`"),
    "looking behind": (lambda: word_level(splits.Split(Regex(r"(?<=a)b"), "isolated")), "`(?<=`"),
    "empty match": (lambda: word_level(splits.Split(Regex(r"a*"), "isolated")), "nothing at all"),
    "ctc": (lambda: with_options(word_piece(), decoder=decoders.CTC()), "decoder CTC"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_names_the_construct(name: str) -> None:
    make, named = REFUSED[name]
    with pytest.raises(UnsupportedError) as caught:
        compile_tokenizer(make())
    assert named in str(caught.value)


def test_damaged_tables_are_refused_or_harmless() -> None:
    data = bytearray(compile_tokenizer(CASES["sentencepiece"]()))
    texts = [text.encode() for text in SENTENCES[:8]]
    opened = 0
    for at in range(0, len(data), max(1, len(data) // 800)):
        damaged = bytes(data[:at]) + bytes([data[at] ^ (1 << at % 8)]) + bytes(data[at + 1 :])
        try:
            tokenizer = _edge.Tokenizer.open(damaged)
        except RuntimeError:
            continue
        opened += 1
        for text in texts[at % 3 :: 3]:
            ids, _ = tokenizer.encode(text, True, True)
            tokenizer.decode(ids, False)
    assert opened


@pytest.mark.parametrize("name", seeds.SEEDS)
def test_seed_of_the_cpp_tests_is_current(name: str) -> None:
    stored = seeds.FOLDER.joinpath(name).read_bytes()
    assert stored == seeds.packed(name), "run python -m tests.text.seeds"
    assert len(stored) <= seeds.LARGEST


@pytest.mark.parametrize("name", seeds.SEEDS)
def test_seed_equals_the_library(name: str) -> None:
    outcome = compare(seeds.SEEDS[name](), count=COUNT, seed=5)
    assert not outcome.differences, "\n".join(outcome.differences)
