"""Constrained output: patterns against `re`, schemas against their values, tokens of any bytes."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.automaton import compile_pattern
from smelt.runtime.constraint import words
from smelt.runtime.engine import Array
from smelt.runtime.json_schema import schema_pattern
from smelt.runtime.session import Session
from smelt.runtime.text import Text
from tests.runtime.toys import ToyDecoder, manifest

PATTERNS = [
    r"a*b+c?",
    r"(ab|cd)*",
    r"[a-c]{2,4}x",
    r"\d+(\.\d+)?",
    r"[^a]b",
    r"é+|ü|\.",
    r".{3}",
    r"\w+@\w+",
    r"[\]a-]+",
    r"(a|b){0,3}?c",
    r"^\s*\[\s*\]$",
    r"[^\d\s]+",
    r"(?:x(y(z)?)?)?",
    r"[\u00e0-\uffff]{1,2}",
    r"\x61|\t|\\",
    "",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_automata_match_what_re_matches(pattern: str) -> None:
    automaton, rng = compile_pattern(pattern), random.Random(1)
    for _ in range(1500):
        text = "".join(rng.choice("abcdxyz .@é1ü2[]-\n\t\\€😀") for _ in range(rng.randint(0, 5)))
        wanted = re.fullmatch(pattern, text, re.ASCII) is not None
        state = automaton.after(1, text.encode())
        assert bool(automaton.accepts[state]) == wanted, text
        assert state or not wanted


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "without its `\\)`"),
        ("a)", "without its `\\(`"),
        ("[a", "without its `]`"),
        ("(?=a)", "`\\(\\?=`"),
        (r"(a)\1", "`\\\\1`"),
        (r"\bx", "`\\\\b`"),
        ("a++", "possessive"),
        ("*a", "means nothing"),
        ("a{x}", "no repeat"),
        ("a{3,2}", "a repeat of 3,2"),
        ("a{20000}", "a repeat of 20000"),
        ("(a|b)*a(a|b){15}", "more than 20000 states"),
        ("a^", "means nothing"),
        ("[z-a]", "a range that is none"),
        (r"[^\s\S]", "matches nothing"),
    ],
)
def test_other_patterns_are_refused_by_name(pattern: str, message: str) -> None:
    with pytest.raises(SmeltError, match=message):
        compile_pattern(pattern)


SCHEMA: dict[str, Any] = {
    "title": "A person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 6},
        "age": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"enum": ["a+b", 3, None]}, "maxItems": 3},
        "home": {"$ref": "#/$defs/place"},
        "sure": {"anyOf": [{"type": "boolean"}, {"const": "so \"so\""}]},
    },
    "required": ["name", "tags"],
    "$defs": {
        "place": {
            "type": "object",
            "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
            "additionalProperties": False,
        }
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ({"name": "Zoë", "age": 7, "tags": [], "home": {"x": -1.5e3}, "sure": True}, True),
        ({"name": "a", "tags": ["a+b", 3, None], "sure": 'so "so"'}, True),
        ({"name": "a", "age": None, "tags": [3], "home": {}}, True),
        ({"name": "", "tags": []}, False),
        ({"name": "a"}, False),
        ({"tags": [], "name": "a"}, False),
        ({"name": "a", "tags": [3, 3, 3, 3]}, False),
        ({"name": "a", "tags": [4]}, False),
        ({"name": "a", "age": 1.5, "tags": []}, False),
        ({"name": "a", "tags": [], "home": {"z": 1}}, False),
    ],
    ids=str,
)
def test_a_schema_allows_its_values(value: Any, allowed: bool) -> None:
    automaton = compile_pattern(schema_pattern(SCHEMA))
    for separators in ((",", ":"), (", ", ": ")):
        for ascii_only in (False, True):
            text = json.dumps(value, ensure_ascii=ascii_only, separators=separators)
            assert bool(automaton.accepts[automaton.after(1, text.encode())]) == allowed


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({}, "allows any value"),
        ({"type": "object"}, "without `properties`"),
        ({"type": "array"}, "without `items`"),
        ({"type": "integer", "minimum": 3}, "`minimum` is not built"),
        ({"type": "string", "pattern": "a"}, "`pattern` is not built"),
        ({"type": "thing"}, "the type 'thing'"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "contains itself"),
        ({"$ref": "#/$defs/b"}, "has no"),
        ({"$ref": "http://x"}, "leaves the schema"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "at least 3 and at most 2"),
        (7, "wants an object"),
    ],
    ids=str,
)
def test_other_schemas_are_refused_by_name(schema: Any, message: str) -> None:
    with pytest.raises(SmeltError, match=message):
        schema_pattern(schema)


def byte_text() -> Text:
    """Every byte is a token, and some pairs; 256 + 3 is the end."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    signs = [chr(b) for b in seen] + [chr(256 + at) for at in range(len(hidden))]
    vocab = {sign: at for at, sign in enumerate([*signs, '"name', '":', "Ġ["])}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    return Text(tokenizer, {})


END = 259


class Babbler(ToyDecoder):
    """Says anything: random logits for each place."""

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        super().call(function, {**inputs, "input_ids": inputs["input_ids"] % 64})
        shape = (*inputs["input_ids"].shape, 264)
        seeds = inputs["input_ids"].sum() * 1000 + self.past
        return {"logits": np.random.default_rng(seeds).normal(size=shape).astype(np.float32)}


def babbler() -> Session:
    told = manifest(vocab_size=None, generation={"eos_token_ids": [END]})
    return Session(Babbler(told), byte_text())


@pytest.mark.parametrize(
    "given",
    [{}, {"temperature": 1.5}, {"num_beams": 3}, {"prompt_lookup_num_tokens": 2}],
    ids=str,
)
def test_babble_becomes_json(given: dict[str, Any]) -> None:
    rows = [[3], [4, 5], [9]]
    options: dict[str, Any] = {"max_new_tokens": 120, "seed": 3, **given}
    # A quote ends a string sooner with a bias; random digits would go on for long.
    nudge = [[[byte_text().tokenizer.token_to_id(sign)], 3.0] for sign in ('"', "}", "]", ",")]
    found = babbler().generate(ids=rows, json_schema=SCHEMA, sequence_bias=nudge, **options).wait()
    ended = [c for c in found.completions if c.finish == "eos"]
    assert len(ended) >= 2
    automaton = compile_pattern(schema_pattern(SCHEMA))
    for completion in ended:
        value = json.loads(completion.text)
        assert {"name", "tags"} <= set(value) <= set(SCHEMA["properties"])
        assert automaton.accepts[automaton.after(1, completion.text.encode())]
    for completion in found.completions:
        data = b"".join(words(byte_text())[token] for token in completion.ids)
        assert automaton.after(1, data) != 0


def test_half_characters_are_tokens_too() -> None:
    found = babbler().generate(ids=[3], pattern="[éü€😀]{4}", max_new_tokens=40).wait()
    assert re.fullmatch("[éü€😀]{4}", found.text) and found.finish == "eos"
    assert len(found.ids) > 8


def test_the_words_of_a_vocabulary() -> None:
    byte_words = words(byte_text())
    assert sorted(byte_words[:256]) == [bytes([b]) for b in range(256)]
    assert byte_words[256:] == (b'"name', b'":', b" [", b"")
    tokenizer = Tokenizer(models.BPE({"\u2581a": 0, "<0xE2>": 1, "b": 2}, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_tokens(["new"])
    assert words(Text(tokenizer, {})) == (b" a", b"\xe2", b"b", b"new")
    plain = Text(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), {})
    with pytest.raises(UnsupportedError, match="needs a tokenizer of bytes"):
        words(plain)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pattern": "a", "json_schema": {"type": "null"}}, "both given"),
        ({"pattern": "a", "eos": ()}, "needs an end token"),
        ({"pattern": 3}, "wants a string"),
        ({"pattern": "(?!a)"}, "`\\(\\?!`"),
        ({"json_schema": {"type": "object"}}, "without `properties`"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SmeltError, match=message):
        babbler().generate(ids=[3], **given)
    with pytest.raises(SmeltError, match="a pattern needs a tokenizer"):
        Session(ToyDecoder()).generate(ids=[3], pattern="a")
