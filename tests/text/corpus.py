"""Strings for tokenizers: real sentences of many scripts, and random ones made to be awkward."""

from __future__ import annotations

import random
from collections.abc import Iterator

SENTENCES = (
    "The quick brown fox doesn't jump over 13 lazy dogs; they're asleep, we'd say (it's 4:30 PM).",
    "I'LL BE THERE, WE'VE SEEN IT. Don’t ‘quote’ “this”… — she said: «non»!",
    "def add(a: int, b: int) -> int:\n    return a + b  # sum\n\n\nif __name__ == 'm':\n\tmain()",
    '{"key": [1, 2.50, -3e10, null], \'x\': "a\\n\\tb"}  https://example.org/a?b=c&d=%20#e',
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. STRASSE, Straße, ẞ",
    "Voix ambiguë d’un cœur qui, au zéphyr, préfère les jattes de kiwis. Île, naïve, çà",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. ЁЖИК Їжак",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ΌΔΥΣΣΕΎΣ ς σ Σ",
    "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。我有１２３个苹果。𠀀𪚥",
    "いろはにほへと ちりぬるを。カタカナ ｶﾀｶﾅ ガギグ ﾊﾟ ー々〆",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. 한국어",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر ١٢٣ لَا إِلٰهَ",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה שָׁלוֹם",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश क्षि १२३",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน ๑๒๓",
    "த மி ழ் வணக்கம் উইকিপিডিয়া ગુજરાતી ਪੰਜਾਬੀ ಕನ್ನಡ മലയാളം తెలుగు සිංහල ລາວ မြန်မာ ខ្មែរ",
    "Tiếng Việt: Do bạch kim rất quý nên sẽ dùng để lắp vô xương. İstanbul ılık IŞIK",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 👍🏽 ☺️ ☺ 🤷🏿‍♀️ ©️ 1️⃣ ❤️‍🔥 🫠",
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, ½ ⅓ x² ³ ¹ ⁴ ₂ ﬁ ﬂ ﬃ ㎏ ℃ Ⅷ ⑨ ㈠ ﷺ ™ № …",
    "a\u0301e\u0323\u0301o\u0308\u0304 q\u0307\u0323 \u0344 \u1100\u1161\u11a8 \uac00\u11a8",
    "\u212b \u2126 \u0958 \u1e9b\u0323",
    "\ufeffBOM \u00a0nbsp\u2003em\u3000wide\u200bzero\u200dwidth\u00adsoft",
    "\u2028line\u2029para\u0085nel\x1c\x1f",
    "tabs\t\ttabs\r\n\r\nwindows \n \n  lines   \n\n\n   end   ",
    "        eight spaces,    four,  two\t mixed \t \n\n   ",
    "<s>text</s> <|endoftext|> <|im_start|>user\nhi<|im_end|> [CLS] a [SEP] [MASK] <unk> <pad>",
    "<|endoftext|<|im_end|><s><s> </s></s> <0x41> <0xE2><0x96><0x81> ▁▁ ▁a Ġa Ċ ##ing [UNK] <mask>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "supercalifragilisticexpialidocious antidisestablishmentarianism Donaudampfschifffahrt",
    "1234567890 12,345.67 0x7fffffff 3.14159265358979 2026-11-21T07:00:00Z +49 (0)30 123456",
    "!!! ??? ... ,,, --- === *** ### $$$ %%% ((( ))) [[[ ]]] {{{ }}} <<< >>> ~~~ ``` ''' \"\"\"",
    "CamelCaseWords snake_case_words kebab-case-words SCREAMING_SNAKE mixedUP123abc ABCdef",
    "ſ'ſ 'ſ K'K ŉ ǅ ǆ Ǆ ᾳ ᾼ ﬅ ﬆ ß SS 'RE 'Ve 'LL 'lL 'M 'D 'T 'S",
)

_RANGES = (
    (0x20, 0x7F), (0x20, 0x7F), (0x00, 0x20), (0x80, 0x250), (0x250, 0x370), (0x300, 0x370),
    (0x370, 0x530), (0x530, 0x700), (0x700, 0xA00), (0xA00, 0xE00), (0xE00, 0x1100),
    (0x1100, 0x1400), (0x1400, 0x1E00), (0x1E00, 0x2000), (0x2000, 0x2100), (0x2100, 0x2600),
    (0x2600, 0x2C00), (0x2C00, 0x3040), (0x3040, 0x3400), (0x4E00, 0x9FFF), (0xA000, 0xAC00),
    (0xAC00, 0xD7B0), (0xD7B0, 0xD800), (0xE000, 0xF900), (0xF900, 0x10000), (0x10000, 0x11000),
    (0x11000, 0x12000), (0x1D000, 0x1D800), (0x1DF00, 0x1E900), (0x1F000, 0x1FB00),
    (0x20000, 0x20100), (0x2F800, 0x2FA20), (0xE0000, 0xE0200), (0xF0000, 0x110000),
)  # fmt: skip
_SPACES = (" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\u3000", "\u00a0", "\u2009")
_MARKS = tuple(
    "\u0300\u0301\u0308\u0323\u0327\u0345\u0334\u3099\u093c\u05bc\ufe0f\u200d\u1161\u11a8"
)


def strings(count: int, seed: int, special: list[str]) -> Iterator[str]:
    """``count`` strings; the same seed gives the same ones."""
    rng = random.Random(seed)
    for index in range(count):
        if index < len(SENTENCES):
            yield SENTENCES[index]
        else:
            yield _string(rng, special)


def _string(rng: random.Random, special: list[str]) -> str:
    parts = []
    for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
        kind = rng.random()
        if kind < 0.35:
            sentence = rng.choice(SENTENCES)
            at = rng.randrange(len(sentence))
            parts.append(sentence[at : at + rng.choice((1, 3, 8, 20, 60))])
        elif kind < 0.6:
            low, high = rng.choice(_RANGES)
            parts.append("".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(1, 8))))
        elif kind < 0.75:
            parts.append("".join(rng.choices(_SPACES, k=rng.randint(1, 3))))
        elif kind < 0.85 and special:
            token = rng.choice(special)
            cut = rng.choice((len(token), len(token), len(token) - 1))
            parts.append(rng.choice(("", " ", "a")) + token[:cut] + rng.choice(("", " ", "s")))
        elif kind < 0.95:
            base = rng.choice(("a", "e", "o", "か", "क", "ש", "ᄀ", "가", "q", " "))
            parts.append(base + "".join(rng.choices(_MARKS, k=rng.randint(1, 4))))
        else:
            parts.append(chr(rng.randrange(0x20, 0xD800)))
    return "".join(parts)


def broken(count: int, seed: int) -> Iterator[bytes]:
    """Bytes that are not UTF-8 everywhere."""
    rng = random.Random(seed)
    pieces = [b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\x80"]
    for _ in range(count):
        text = _string(rng, []).encode()
        at = rng.randint(0, len(text))
        yield text[:at] + b"".join(rng.choices(pieces, k=rng.randint(1, 3))) + text[at:]
