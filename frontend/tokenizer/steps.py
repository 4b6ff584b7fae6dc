"""Normalizers and pre-tokenizers as steps over tables."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

from tokenizers import Tokenizer, models, normalizers

from smelt.errors import UnsupportedError
from smelt.frontend.tokenizer import charsmap, unicode
from smelt.frontend.tokenizer.automaton import automaton
from smelt.frontend.tokenizer.regex import Expression
from smelt.frontend.tokenizer.tables import NONE, Tables

Json = Mapping[str, Any]
OPS = ("map", "normal", "prepend", "strip", "replace", "split", "charsmap")
BEHAVIORS = ("removed", "isolated", "mergedwithprevious", "mergedwithnext", "contiguous")
LEFT, RIGHT = 1, 2
ALWAYS, AT_START = 0, 1
#: In the strings of a map: the character that is replaced.
ITSELF = b"\xff"
#: What `ByteLevel` splits with; other patterns come with the tokenizer.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def byte_letters() -> dict[int, str]:
    """The letter that stands for each byte in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(others)}}


class Steps:
    """Collects steps; the order is that in which they run."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._rows: list[bytes] = []

    def add(self, op: str, a: int, b: int = 0, c: int = 0, d: int = NONE, e: int = NONE) -> None:
        """Append a step."""
        if len(self._rows) == 32:
            raise UnsupportedError("tokenizer has more than 32 steps")
        self._rows.append(struct.pack("<8I", OPS.index(op), a, b, c, d, e, 0, 0))

    def table(self) -> int:
        """The table of all steps."""
        return self.tables.add("steps", b"".join(self._rows))

    def string(self, text: str) -> int:
        """A table that holds one string."""
        return self.tables.strings([text.encode()])

    def map(self, values: Mapping[int, str]) -> None:
        """A step that puts a string in the place of some characters."""
        if not values:
            return
        spelled = {c: text.encode() for c, text in values.items()}
        for code, text in values.items():
            if len(text) > 1 and chr(code) in text:  # thousands of ideographs get spaces around
                spelled[code] = text.encode().replace(chr(code).encode(), ITSELF)
        numbers, strings = self._numbered(spelled)
        self.add("map", self.tables.map(numbers), strings)

    def split(self, expression: Expression, behavior: str, *, invert: bool = False) -> None:
        """A step that cuts at the matches of an expression."""
        at = BEHAVIORS.index(behavior.lower().replace("_", ""))
        self.add("split", automaton(self.tables, expression), at, int(invert))

    def normal(self, name: str) -> None:
        """A step to one of Unicode's normal forms."""
        composes, compatible = name.endswith("C"), "K" in name
        parts = unicode.form("NFKD" if compatible else "NFD")
        numbers, strings = self._numbered(
            {c: p.encode() for c, p in parts.items() if c not in unicode.HANGUL}
        )
        rank = unicode.combining()
        active = rank > 0
        active[list(unicode.form(name))] = True
        pairs = NONE
        if composes:
            known = unicode.compositions()
            active[[right for _, right in known]] = True
            active[0x1161:0x1176] = active[0x11A8:0x11C3] = True  # vowels and tails of Hangul
            pairs = self.tables.pairs({pair: (0, code) for pair, code in known.items()})
        else:
            active[unicode.HANGUL.start : unicode.HANGUL.stop] = True
        self.add(
            "normal",
            self.tables.map(numbers),
            strings,
            self.tables.classes(rank),
            self.tables.classes(active),
            pairs,
        )

    def _numbered(self, values: Mapping[int, bytes]) -> tuple[dict[int, int], int]:
        distinct = {text: index for index, text in enumerate(dict.fromkeys(values.values()))}
        if len(distinct) > 0xFFFF:
            raise UnsupportedError(f"a map has {len(distinct)} results, at most 65535 fit")
        numbers = {code: 1 + distinct[text] for code, text in values.items()}
        return numbers, self.tables.strings(list(distinct))


def normalizer(step: Json | None, to: Steps) -> None:
    """Add the steps of a normalizer."""
    if step is None:
        return
    known = NORMALIZERS.get(step["type"])
    if known is None:
        raise UnsupportedError(f"normalizer {step['type']} is not compiled")
    known(step, to)


def _sequence(step: Json, to: Steps) -> None:
    for inner in step["normalizers"]:
        normalizer(inner, to)


def _bert(step: Json, to: Steps) -> None:
    lowercase = step["lowercase"]
    strips = lowercase if step["strip_accents"] is None else step["strip_accents"]
    first = normalizers.BertNormalizer(
        clean_text=step["clean_text"],
        handle_chinese_chars=step["handle_chinese_chars"],
        strip_accents=False,
        lowercase=False,
    )
    to.map(unicode.mapped(first.normalize_str))
    lower = unicode.mapped(normalizers.Lowercase().normalize_str) if lowercase else {}
    if not strips:
        return to.map(lower)
    to.normal("NFD")
    strip = normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False
    )
    gone = {c for c, text in unicode.mapped(strip.normalize_str).items() if text == ""}
    to.map({**lower, **dict.fromkeys(gone, "")})


def _per_character(step: Json, to: Steps) -> None:
    to.map(unicode.mapped(_of(step).normalize_str))


def _replace(step: Json, to: Steps) -> None:
    kind, pattern = next(iter(step["pattern"].items()))
    content = step["content"]
    if kind == "String" and pattern == "":
        raise UnsupportedError("normalizer Replace of the empty text is not compiled")
    if kind == "String" and len(pattern) == 1:
        return to.map({ord(pattern): content} if content != pattern else {})
    read = Expression.literal if kind == "String" else Expression.parse
    table = automaton(to.tables, read(pattern, "normalizer Replace"))
    to.add("replace", table, to.string(content))


def _strip(step: Json, to: Steps) -> None:
    sides = LEFT * step["strip_left"] | RIGHT * step["strip_right"]
    space = ~unicode.kept_by("whitespace")
    space[unicode.SURROGATES.start : unicode.SURROGATES.stop] = False
    to.add("strip", to.tables.classes(space), sides)


def _of(step: Json) -> Any:
    """A normalizer of the library, from its JSON."""
    whole = json.loads(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).to_str())
    whole["normalizer"] = step
    return Tokenizer.from_str(json.dumps(whole)).normalizer


def _prepend(step: Json, to: Steps) -> None:
    to.add("prepend", to.string(step["prepend"]), ALWAYS, 0)


def _charsmap(step: Json, to: Steps) -> None:
    known = charsmap.entries(step["precompiled_charsmap"])
    texts = {text: index for index, text in enumerate(dict.fromkeys(known.values()))}
    trie = to.tables.trie({key: texts[text] for key, text in known.items()})
    clusters = automaton(to.tables, charsmap.graphemes())
    to.add("charsmap", trie, to.tables.strings(list(texts)), clusters)


NORMALIZERS: dict[str, Callable[[Json, Steps], None]] = {
    "Sequence": _sequence,
    "BertNormalizer": _bert,
    "Lowercase": _per_character,
    "StripAccents": _per_character,
    "Nmt": _per_character,
    "Replace": _replace,
    "Strip": _strip,
    "Prepend": _prepend,
    "Precompiled": _charsmap,
    **{name: lambda step, to: to.normal(step["type"]) for name in ("NFC", "NFD", "NFKC", "NFKD")},
}


def flat(step: Json | None) -> list[Json]:
    """The pre-tokenizers of a sequence, nested ones too, in order."""
    if step is None:
        return []
    if step["type"] == "Sequence":
        return [inner for part in step["pretokenizers"] for inner in flat(part)]
    return [step]


def splitters(steps: list[Json], to: Steps) -> bool:
    """Add the steps of pre-tokenizers; whether the words are bytes at the end."""
    for index, step in enumerate(steps):
        kind = step["type"]
        if kind == "ByteLevel" and index + 1 < len(steps):
            raise UnsupportedError("pre-tokenizer ByteLevel is compiled only as the last one")
        known = SPLITTERS.get(kind)
        if known is None:
            raise UnsupportedError(f"pre-tokenizer {kind} is not compiled")
        known(step, to)
    return bool(steps) and steps[-1]["type"] == "ByteLevel"


def _byte_level(step: Json, to: Steps) -> None:
    if step["add_prefix_space"]:
        to.add("prepend", to.string(" "), ALWAYS, 1)
    if step.get("use_regex", True):
        to.split(Expression.parse(GPT2, "pre-tokenizer ByteLevel"), "isolated")


def _split(step: Json, to: Steps) -> None:
    kind, pattern = next(iter(step["pattern"].items()))
    if pattern == "":
        raise UnsupportedError("pre-tokenizer Split at the empty text is not compiled")
    read = Expression.literal if kind == "String" else Expression.parse
    expression = read(pattern, "pre-tokenizer Split")
    to.split(expression, step["behavior"], invert=step["invert"])


def _metaspace(step: Json, to: Steps) -> None:
    mark = step["replacement"]
    to.map({ord(" "): mark})
    scheme = step.get("prepend_scheme", "always")
    if scheme != "never":
        to.add("prepend", to.string(mark), AT_START if scheme == "first" else ALWAYS, 1)
    if step.get("split", True):
        to.split(Expression.literal(mark, "pre-tokenizer Metaspace"), "mergedwithnext")


def _sets(name: str, *sets: Any, runs: bool = False) -> Expression:
    return Expression.of_sets(list(sets), f"pre-tokenizer {name}", runs=runs)


def _bert_splits(step: Json, to: Steps) -> None:
    to.split(_sets("BertPreTokenizer", ~unicode.kept_by("whitespace")), "removed")
    to.split(_sets("BertPreTokenizer", ~unicode.kept_by("punctuation")), "isolated")


def _whitespace(step: Json, to: Steps) -> None:
    kinds = unicode.characters()
    words = _sets("Whitespace", kinds & 1 == 1, kinds == 0, runs=True)
    to.split(words, "removed", invert=True)


def _digits(step: Json, to: Steps) -> None:
    behavior = "isolated" if step["individual_digits"] else "contiguous"
    to.split(_sets("Digits", unicode.is_digit()), behavior)


SPLITTERS: dict[str, Callable[[Json, Steps], None]] = {
    "ByteLevel": _byte_level,
    "Split": _split,
    "Metaspace": _metaspace,
    "BertPreTokenizer": _bert_splits,
    "Whitespace": _whitespace,
    "Digits": _digits,
    "WhitespaceSplit": lambda step, to: to.split(
        _sets("WhitespaceSplit", ~unicode.kept_by("whitespace")), "removed"
    ),
    "Punctuation": lambda step, to: to.split(
        _sets("Punctuation", ~unicode.kept_by("punctuation")), step["behavior"]
    ),
    "CharDelimiterSplit": lambda step, to: to.split(
        Expression.literal(step["delimiter"], "pre-tokenizer CharDelimiterSplit"), "removed"
    ),
}
