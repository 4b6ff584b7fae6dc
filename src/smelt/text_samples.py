"""Strings for tokenizers: real sentences of many scripts, and random ones made to be awkward."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

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
    "ქართული ენა Հայերեն አማርኛ ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ བོད་སྐད ᠮᠣᠩᠭᠣᠯ ދިވެހި ⴰⵎⴰⵣⵉⵖ ꦧꦱꦗꦮ ꯃꯩꯇꯩꯂꯣꯟ ߒߞߏ ⲙⲉⲧⲣⲉⲙⲛ̀ⲭⲏⲙⲓ",
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
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "supercalifragilisticexpialidocious antidisestablishmentarianism Donaudampfschifffahrt",
    "1234567890 12,345.67 0x7fffffff 3.14159265358979 2026-11-21T07:00:00Z +49 (0)30 123456",
    "!!! ??? ... ,,, --- === *** ### $$$ %%% ((( ))) [[[ ]]] {{{ }}} <<< >>> ~~~ ``` ''' \"\"\"",
    "CamelCaseWords snake_case_words kebab-case-words SCREAMING_SNAKE mixedUP123abc ABCdef",
    "ſ'ſ 'ſ K'K ŉ ǅ ǆ Ǆ ᾳ ᾼ ﬅ ﬆ ß SS 'RE 'Ve 'LL 'lL 'M 'D 'T 'S",
)

#: Where scripts lie: first, end, and the step from page to page; a page has 64 code points.
_REGIONS = (
    (0x0000, 0x3400, 64), (0x3400, 0xA000, 1024), (0xA000, 0xAC00, 64), (0xAC00, 0xD740, 1024),
    (0xD780, 0xD7C1, 64), (0xE000, 0xF8C0, 0x800), (0xF900, 0x10000, 64), (0x10000, 0x12000, 64),
    (0x12000, 0x12580, 256), (0x12F80, 0x13480, 256), (0x14400, 0x14680, 256),
    (0x16100, 0x16140, 64), (0x16800, 0x17000, 64), (0x17000, 0x18D00, 1024),
    (0x1AFC0, 0x1B300, 64), (0x1BC00, 0x1BCC0, 64), (0x1CC00, 0x1D380, 64), (0x1D400, 0x1DAC0, 64),
    (0x1DF00, 0x1E300, 64), (0x1E480, 0x1E980, 64), (0x1EC40, 0x1EF00, 64), (0x1F000, 0x1FC00, 64),
    (0x20000, 0x33480, 0x2000), (0x2F800, 0x2FA20, 64), (0xE0000, 0xE0200, 64),
    (0xF0000, 0xF0001, 64), (0x10FFC0, 0x10FFC1, 64),
)  # fmt: skip
_PAGES = tuple(
    range(page, page + 64) for first, end, step in _REGIONS for page in range(first, end, step)
)
_SPACES = (
    *(" ", " ", " ", "  ", "    ", "\n", "\n\n", "\r\n", "\r", "\t", " \n", "\n ", "\v", "\f"),
    *("\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\xa0", "\u1680", "\u180e", "\u2028", "\u2029"),
    *(chr(code) for code in range(0x2000, 0x200E)),
    *("\u202f", "\u205f", "\u2060", "\u3000", "\ufeff"),
)
_MARKS = "".join(
    map(
        chr,
        (
            *range(0x300, 0x370), *range(0x483, 0x488), *range(0x591, 0x5BE), 0x5BF, 0x5C1, 0x5C2,
            *range(0x64B, 0x660), 0x670, *range(0x6D6, 0x6DD), 0x93C, 0x94D, 0x9BC, 0x9BE, 0x9CD,
            0xB3E, 0xB57, 0xBBE, 0xBD7, 0xDCF, 0xE38, 0xE48, 0xEB8, 0xEC8, 0xF71, 0xF72, 0xF74,
            0x1161, 0x1175, 0x11A8, 0x11C2, *range(0x1AB0, 0x1ABF), *range(0x1DC0, 0x1DFF),
            *range(0x20D0, 0x20F1), *range(0x302A, 0x3030), 0x3099, 0x309A, 0xFE0E, 0xFE0F,
            *range(0xFE20, 0xFE30), 0x1D165, 0x1D16D, 0x110BA, 0x11127, 0x1133E, 0x200C, 0x200D,
        ),
    )
)  # fmt: skip
_BASES = "aeiouAEOUnsczyq אשوبكคงक्षकதമক가간ᄀᄒかハウ一αιυωАиЕ1.©☺#"
_FACES = "😀😂🥲🤖👶👩👨🧑👧👦👍👋🤷🏃🐈🐻❤☺☀✈⚕⚖♀♂🌈🔥🚀🦰🦱🏳🏴☠🫠🫶🪿"
_TONES = "🏻🏼🏽🏾🏿"
_FLAGS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_TAGS = "".join(map(chr, range(0xE0020, 0xE0080)))
_DIGITS = (
    "0123456789", "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "๐๑๒๓๔๕๖๗๘๙", "０１２３４５６７８９", "²³¹⁰⁴½¼Ⅷ⑨㈠৴",
    "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗",
)  # fmt: skip
_NUMBERS = ("", ".", ",", "-", ":", "e+", "_", " ", "/", "'", "٫", "%")
_CODE = (
    *("def ", "return ", "if (", "for (int i = 0; i < n; ++i) {\n", "\t\t", "    ", "        "),
    *("};\n", "};\n\n\n", "->", "=>", "::", "===", "!==", "&&", "||", "<<=", "//", "/* ", " */"),
    *("self.", "std::vector<", ">> ", "x_1", "camelCase", "HTTPServer2", "__init__", "#include <"),
    *(".h>\n", "\\n", '"', "'", "`", "f'{x!r:>10}'", "0x1F", "1e-9", "@", "$_", "<div class='a'>"),
    *("</div>", "SELECT * FROM t WHERE a='b';", "\r\n", "--", "%s", "\\", "λ", "{{", "}}", "{%"),
)
_LINKS = (
    *("https://", "http://", "www.", "ftp://", "mailto:", "example", "пример", "xn--e1afmkfd", "."),
    *("com", "org", "co.uk", "/", "/a/b", "?q=", "&", "=", "%20", "%E2%82%AC", "#top", ":8080"),
    *("@", "user.name", "-", "_", "~", "+", "index.html", "2026/11", "v1.2.3", ";", "[::1]"),
)
_CONTROLS = "".join(
    map(
        chr,
        (
            *range(0x20), *range(0x7F, 0xA0), 0xAD, 0x34F, 0x61C, 0x115F, 0x17B4,
            *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070),
            0xFDD0, 0xFDEF, *range(0xFFF0, 0x10000), 0x1FFFE, 0x1FFFF, 0xE0001,
            0x10FFFE, 0x10FFFF, 0xE000, 0xF8FF,
        ),
    )
)  # fmt: skip
_FORMS: tuple[Literal["NFC", "NFD", "NFKC", "NFKD"], ...] = ("NFC", "NFD", "NFKC", "NFKD")
_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
_CONTRACTIONS = (
    *("'s", "'S", "'ſ", "’s", "'re", "'RE", "'rE", "'ve", "'VE", "'ll", "'Ll", "'d", "'m", "'t"),
    *("n't", "'", "''", "'K", "'ſt", " 's", "'s's"),
)


@dataclass(frozen=True)
class Bag:
    """What is special to a tokenizer: its added tokens, and texts made of its own words."""

    special: Sequence[str] = ()
    words: Sequence[str] = ()


NOTHING = Bag()


def strings(count: int, seed: int, bag: Bag = NOTHING) -> Iterator[str]:
    """``count`` strings, the sentences first; the same arguments give the same ones."""
    rng = random.Random(seed)
    for index in range(count):
        yield SENTENCES[index] if index < len(SENTENCES) else _string(rng, bag)


def broken(count: int, seed: int, bag: Bag = NOTHING) -> Iterator[bytes]:
    """Bytes that are not UTF-8 everywhere: halves, surrogates, overlong forms, stray bytes."""
    rng = random.Random(seed)
    for _ in range(count):
        text = _string(rng, bag).encode()
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = int(rng.random() * (len(text) + 1))
            if rng.random() < 0.7:
                bad = b"".join(rng.choices(_BROKEN, k=rng.choice((1, 2, 3))))
                text = text[:at] + bad + text[at:]
            else:  # cut, often in the middle of a character
                text = text[:at] + text[at + rng.choice((1, 2, 5)) :]
        yield text


_BROKEN = (
    *(b"\xff", b"\xfe", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xed\xbf\xbf"),
    *(b"\xed\xa0\xbd\xed\xb8\x80", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf"),
    *(b"\x80", b"\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80"),
    *(b"\xe2", b"\xf0", b"\xe2\x28\xa1", b"\x00", b"\xef\xbb", b"\xf3\xa0\x81"),
)


def _string(rng: random.Random, bag: Bag) -> str:
    count = rng.choice((1, 1, 2, 3, 5, 8))
    return "".join([make(rng, bag) for make in rng.choices(_MAKERS, cum_weights=_WEIGHTS, k=count)])


def _some(rng: random.Random, of: Sequence[str], most: int) -> str:
    """One to ``most`` of them."""
    return "".join(rng.choices(of, k=1 + int(rng.random() * most)))


def _excerpt(rng: random.Random, bag: Bag) -> str:
    sentence = rng.choice(SENTENCES)
    at = int(rng.random() * len(sentence))
    return sentence[at : at + rng.choice((1, 3, 8, 20, 60))]


def _script(rng: random.Random, bag: Bag) -> str:
    return "".join(map(chr, rng.choices(rng.choice(_PAGES), k=1 + int(rng.random() * 10))))


def _spaces(rng: random.Random, bag: Bag) -> str:
    if rng.random() < 0.4:
        return rng.choice(_SPACES) * rng.choice((2, 3, 4, 7, 16, 33))
    return _some(rng, _SPACES, 5)


def _added(rng: random.Random, bag: Bag) -> str:
    """An added token, often not quite."""
    if not bag.special:
        return _excerpt(rng, bag)
    token = rng.choice(bag.special)
    kind = rng.random()
    if kind < 0.2:
        token = token[: int(rng.random() * len(token))]
    elif kind < 0.3:
        token = token[int(rng.random() * len(token)) :]
    elif kind < 0.4:
        at = int(rng.random() * len(token))
        token = token[:at] + rng.choice((" ", "\u200b", token[at : at + 1])) + token[at:]
    elif kind < 0.5:
        token = token.swapcase()
    elif kind < 0.6:
        token *= 2
    return rng.choice(("", "", " ", "  ", "a", "\n")) + token + rng.choice(("", "", " ", "s", "\n"))


def _words(rng: random.Random, bag: Bag) -> str:
    return rng.choice(bag.words) if bag.words else _excerpt(rng, bag)


def _marked(rng: random.Random, bag: Bag) -> str:
    """Characters under marks, sometimes under very many."""
    most = 40 if rng.random() < 0.03 else 4
    count = rng.choice((1, 2, 4))
    return "".join([rng.choice(_BASES) + _some(rng, _MARKS, most) for _ in range(count)])


def _emoji(rng: random.Random, bag: Bag) -> str:
    kind = rng.random()
    if kind < 0.2:
        return _some(rng, _FLAGS, 5)
    if kind < 0.3:
        return rng.choice("0123456789#*a") + rng.choice(("\ufe0f", "")) + "\u20e3"
    if kind < 0.4:
        return "🏴" + _some(rng, _TAGS, 6) + "\U000e007f"
    parts = []
    for face in rng.choices(_FACES, k=rng.choice((1, 1, 2, 3, 4))):
        tone = rng.choice(_TONES) if rng.random() < 0.3 else ""
        parts.append(face + tone + ("\ufe0f" if rng.random() < 0.3 else ""))
    return rng.choice(("\u200d", "\u200d", "", " ")).join(parts)


def _normal(rng: random.Random, bag: Bag) -> str:
    """A text in one of the four normal forms, beside itself."""
    text = _excerpt(rng, bag) if rng.random() < 0.5 else _script(rng, bag)
    return unicodedata.normalize(rng.choice(_FORMS), text) + (text if rng.random() < 0.5 else "")


def _cased(rng: random.Random, bag: Bag) -> str:
    text = _excerpt(rng, bag) if rng.random() < 0.7 else _script(rng, bag)
    return rng.choice((str.upper, str.lower, str.title, str.swapcase))(text)


def _numbers(rng: random.Random, bag: Bag) -> str:
    digits = _DIGITS[0] if rng.random() < 0.6 else rng.choice(_DIGITS)
    count = rng.choice((1, 1, 2, 3))
    groups = [_some(rng, digits, rng.choice((1, 3, 9, 30))) for _ in range(count)]
    return rng.choice(_NUMBERS).join(groups)


def _code(rng: random.Random, bag: Bag) -> str:
    return _some(rng, _CODE, 10)


def _link(rng: random.Random, bag: Bag) -> str:
    return _some(rng, _LINKS, 12)


def _contraction(rng: random.Random, bag: Bag) -> str:
    return _some(rng, _LETTERS, 5) + rng.choice(_CONTRACTIONS) + rng.choice(("", " ", "x", "é"))


def _controls(rng: random.Random, bag: Bag) -> str:
    return _some(rng, _CONTROLS, 4)


def _anything(rng: random.Random, bag: Bag) -> str:
    """Characters of unrelated scripts."""
    pages = rng.choices(_PAGES, k=1 + int(rng.random() * 6))
    return "".join([chr(rng.choice(page)) for page in pages])


def _long(rng: random.Random, bag: Bag) -> str:
    size = rng.choice((50, 120, 400, 1500))
    if rng.random() < 0.5:
        return _some(rng, _LETTERS, 3) * (size // 3)
    letters = _LETTERS if rng.random() < 0.6 else [chr(code) for code in rng.choice(_PAGES)]
    return "".join(rng.choices(letters, k=size))


_TABLE: tuple[tuple[Callable[[random.Random, Bag], str], float], ...] = (
    (_excerpt, 24), (_script, 16), (_spaces, 9), (_added, 8), (_words, 9), (_marked, 6),
    (_emoji, 5), (_normal, 4), (_cased, 4), (_numbers, 5), (_code, 4), (_link, 3),
    (_contraction, 3), (_controls, 2), (_anything, 4), (_long, 0.3),
)  # fmt: skip
_MAKERS = [make for make, _ in _TABLE]
_WEIGHTS = [sum(weight for _, weight in _TABLE[: at + 1]) for at in range(len(_TABLE))]
