"""Tokenizers, templates and streaming against transformers and the tokenizers library."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from smelt.errors import ArtifactError, SmeltError, UnsupportedError
from smelt.runtime.manifest import Manifest
from smelt.runtime.session import Session
from smelt.runtime.template import MAX_TEMPLATE, MAX_TOKENS, ChatTemplate
from smelt.runtime.text import TEXT_FILES, StopStrings, Text
from smelt.runtime.vocabularies import tokenizer_json
from tests import models
from tests.runtime.toys import ScriptedDecoder, manifest

SAMPLES = [
    "Hello, world!",
    "  two  spaces\n\n\tand tabs ",
    "naïve café — “quotes” … 日本語 русский العربية हिन्दी",
    "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 \u200b zero",
    "def f(x):\n    return x ** 2  # 100% <|im_start|> [MASK]",
    "1234567890 3.14159 $5",
    "",
]


def model(get: Callable[[], Path]) -> Path:
    try:
        return get()
    except models.ModelUnavailable as error:
        pytest.skip(str(error))


def load(root: Path) -> Text:
    files = {name: (root / name).read_bytes() for name in TEXT_FILES if (root / name).is_file()}
    return Text.load(files)


NAMED = [models.smollm2_hf, models.minilm, models.stories15m]


@pytest.mark.parametrize("get", NAMED, ids=lambda g: g.__name__)
def test_ids_and_text_equal_transformers(get: Callable[[], Path]) -> None:
    transformers = pytest.importorskip("transformers")
    root = model(get)
    text, oracle = load(root), transformers.AutoTokenizer.from_pretrained(root)
    for sample in SAMPLES:
        ids = text.encode(sample)
        assert ids == oracle(sample)["input_ids"], sample
        plain = oracle(sample, add_special_tokens=False)["input_ids"]
        assert text.encode(sample, add_special=False) == plain
        decoded = oracle.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert text.decode(ids) == decoded
    for name in ("bos", "eos", "pad"):
        if f"{name}_token" in text.special:
            assert text.special_id(name) == getattr(oracle, f"{name}_token_id")


@pytest.mark.parametrize("get", NAMED, ids=lambda g: g.__name__)
def test_streaming_gives_the_same_text_and_no_half_characters(get: Callable[[], Path]) -> None:
    text = load(model(get))
    for sample in SAMPLES:
        ids = text.encode(sample, add_special=False)
        stream = text.stream()
        pieces = [stream.push(token) for token in ids]
        assert "\ufffd" not in "".join(pieces)
        assert "".join([*pieces, stream.flush()]) == text.decode(ids)


def test_streaming_random_tokens_ends() -> None:
    text = load(model(models.smollm2_hf))
    chosen = random.Random(0)
    for _ in range(20):
        ids = [chosen.randrange(text.vocab_size) for _ in range(100)]
        stream = text.stream()
        out = "".join([stream.push(t) for t in ids] + [stream.flush()])
        assert out.replace("\ufffd", "") == text.decode(ids).replace("\ufffd", "")


def test_a_continuation_keeps_its_leading_space() -> None:
    text = load(model(models.stories15m))
    whole = text.encode("Once upon a time there was")
    for cut in range(2, len(whole)):
        stream = text.stream(whole[:cut])
        rest = "".join([stream.push(t) for t in whole[cut:]] + [stream.flush()])
        assert text.decode(whole[:cut]) + rest == text.decode(whole)


CHATS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "<|im_end|> {{ 7*7 }}"},
    ],
]


@pytest.mark.parametrize("chat", CHATS, ids=range(len(CHATS)))
@pytest.mark.parametrize("prompt", [True, False])
def test_chat_ids_equal_transformers(chat: list[dict[str, Any]], prompt: bool) -> None:
    transformers = pytest.importorskip("transformers")
    root = model(models.smollm2_hf)
    text, oracle = load(root), transformers.AutoTokenizer.from_pretrained(root)
    wanted = oracle.apply_chat_template(chat, tokenize=False, add_generation_prompt=prompt)
    assert text.render_chat(chat, add_generation_prompt=prompt) == wanted
    ids = oracle.apply_chat_template(
        chat, add_generation_prompt=prompt, return_dict=True, sanitize_control_tokens=False
    )["input_ids"]
    assert text.encode_chat(chat, add_generation_prompt=prompt) == ids


TOOLS = [
    {
        "type": "function",
        "function": {"name": "get", "parameters": {"type": "object", "enum": ["ü", 1.5, None]}},
    }
]
# Constructs that real templates use, each against transformers.
TEMPLATES = [
    "{{ bos_token }}{% for m in messages %}{{ m.role ~ ': ' ~ m['content'] | trim }}\n{% endfor %}",
    "{%- for m in messages -%}{{ loop.index0 }}{{ loop.last }}{{ loop.length }}{%- endfor -%}",
    "{% set ns = namespace(n=0, s='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
    "{% if m.role == 'user' %}{% continue %}{% endif %}{% set ns.s = ns.s + m.content %}"
    "{% endfor %}{{ ns.n }}{{ ns.s }}",
    "{{ tools | tojson }}{{ tools | tojson(indent=2) }}{{ messages[0] | tojson }}",
    "{% macro show(m, p='') %}{{ p }}{{ m.content }}{% endmacro %}"
    "{% for m in messages %}{{ show(m, '>') }}{% endfor %}",
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set rest = messages[1:] %}{% else %}{% set rest = messages %}{% endif %}"
    "{{ system is defined }}{{ rest | length }}{{ rest | map(attribute='role') | join(',') }}",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
    "{{ messages[::-1] | map(attribute='content') | list }}{{ [1, 2] + [3] }}{{ (1, 'a') }}",
    "{{ 'a,b'.split(',') }}{{ 'Abc'.upper().startswith('AB') }}{{ 'x%sy' % 3 }}{{ 7 // 2 ** 2 }}",
    "{{ {'a': 1, 'b': [1, none, true]} }}{{ dict(a=1).items() | list }}{{ range(3) | list }}",
    "{% set text %}in {{ messages[0].role }}{% endset %}{{ text | upper | replace('IN', 'out') }}",
    "{{ 'abc'[1:] + 'x' * 3 }}{{ 'b' in 'abc' }}{{ messages[0].get('name', 'none') }}{{ missing }}",
    "{{ '{:.2f} {}'.format(1.234, 'x') }}{{ 3.0 }}{{ 10 / 4 }}{{ 'a\nb' | indent(2) }}",
    "{% for m in messages recursive %}{{ m.role }}{% else %}-{% endfor %}{{ tools[0].function }}",
    "{% for k, v in messages[0] | dictsort %}{{ k }}={{ v }}{% endfor %}{{ [3, 1] | sort }}",
    "{% if tools is none or not tools is iterable %}a{% elif tools is mapping %}b{% endif %}",
    "{{ messages | batch(1) | list | length }}",
]


@pytest.mark.parametrize("source", TEMPLATES)
def test_templates_equal_transformers(source: str) -> None:
    oracle = pytest.importorskip("transformers.utils.chat_template_utils")
    for chat in CHATS:
        wanted = oracle.render_jinja_template(
            [chat], tools=TOOLS, chat_template=source, add_generation_prompt=True, bos_token="<s>"
        )[0][0]
        assert ChatTemplate(source).render(chat, tools=TOOLS, bos_token="<s>") == wanted


def test_none_values_and_reasoning_are_as_in_transformers() -> None:
    oracle = pytest.importorskip("transformers.utils.chat_template_utils")
    source = "{% for m in messages %}{{ m | tojson }}{% endfor %}"
    chat = [{"role": "assistant", "content": "x", "reasoning": "why"}]
    wanted = oracle.render_jinja_template([chat], chat_template=source)[0][0]
    assert ChatTemplate(source).render(chat) == wanted
    assert "null" not in ChatTemplate(source).render([{"role": "user", "content": None}])


def test_the_clock_and_refusals() -> None:
    source = "{{ strftime_now('%d %b %Y') }}"
    moment = datetime(2024, 2, 29)
    assert ChatTemplate(source).render(CHATS[0], now=moment) == "29 Feb 2024"
    refuses = ChatTemplate("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(SmeltError, match="refuses the conversation: roles must alternate"):
        refuses.render(CHATS[0])
    with pytest.raises(ArtifactError, match="does not parse") as caught:
        ChatTemplate("a\n{% for %}")
    assert caught.value.place == "chat template:2"


def test_a_template_that_does_not_parse_costs_the_chat_alone() -> None:
    base = model(models.smollm2_hf)
    files = {"tokenizer.json": (base / "tokenizer.json").read_bytes()}
    text = Text.load({**files, "chat_template.jinja": b"{% for %}"})
    assert text.decode(text.encode("Hello")) == "Hello" and text.has_chat
    with pytest.raises(ArtifactError, match="does not parse"):
        text.render_chat([{"role": "user", "content": "Hi"}])


HOSTILE = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x %}{{ n.x }}{{ n.x }}"
    "{% endset %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}",
    "{% set n = namespace() %}{% set n.a = n %}{{ n }}",
    "{{ 'a' * 10 ** 10 }}",
    "{{ 9 ** 9 ** 9 ** 9 }}",
    "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
    "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
    "{{ '%999999999d' % 3 }}",
    "{{ '{:999999999}'.format(3) }}",
    "{{ 'x'.ljust(10 ** 9) }}",
    "{{ 'x' | indent(10 ** 9) }}",
    "{{ ('x' * 1000000).join(['a'] * 1000) }}",
    "{{ range(100000) | batch(100000000) | list }}",
    "{{ strftime_now('%1000000d') }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ messages.append(1) }}",
    "{% include 'x' %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}",
    "{% for i in range(99999) %}{{ ('x' * 900000) == ('x' * 900000) }}{% endfor %}",
    "x" * (1 << 19),
]


@pytest.mark.parametrize("source", HOSTILE, ids=lambda s: s[:40])
def test_hostile_templates_are_stopped(source: str) -> None:
    with pytest.raises(SmeltError):
        ChatTemplate(source).render(CHATS[0])


#: Parts that a hostile template repeats: what jinja2 makes of each is much larger than its text.
REPEATED = {
    "outputs": ("", "{{a}}", ""),
    "comparisons": ("{{ a", "<a", "}}"),
    "parts of a text": ("{{ a", "~a", "}}"),
    "sum": ("{{ 1", "+1", "}}"),
    "list": ("{{ [", "1,", "] }}"),
    "mapping": ("{{ {", "1:1,", "} }}"),
    "branches": ("{% if a %}", "{% elif a %}", "{% endif %}"),
    "conditions": ("", "{%if a%}{%endif%}", ""),
    "assignments": ("", "{%set a=1%}", ""),
    "macros": ("", "{%macro m()%}{%endmacro%}", ""),
    "filters": ("{{ a", "|e", "}}"),
    "brackets": ("{{", "[", "}}"),
    "loops": ("", "{%for a in b%}", ""),
    "negations": ("{{", "not ", "a}}"),
}


def memory_of_parsing(source: str) -> float:
    """Megabytes that parsing takes at most."""
    tracemalloc.start()
    try:
        ChatTemplate(source)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak / 1e6


def repeated(name: str, size: int) -> str:
    before, part, after = REPEATED[name]
    return before + part * ((size - 40) // len(part)) + after


@pytest.mark.parametrize("name", REPEATED)
def test_templates_with_too_many_parts_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedError, match=r"words and signs|nested too deeply"):
        ChatTemplate(repeated(name, MAX_TEMPLATE))


@pytest.mark.parametrize("name", ["outputs", "comparisons", "parts of a text"])
def test_parsing_takes_no_more_memory_than_the_budget(name: str) -> None:
    """The costliest parts, just few enough, and too many of them."""
    assert memory_of_parsing(repeated(name, MAX_TOKENS * 3 // 4)) < 100
    with pytest.raises(UnsupportedError):
        memory_of_parsing(repeated(name, MAX_TEMPLATE))


def test_a_large_honest_template_parses() -> None:
    source = "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}\n" * 500
    assert ChatTemplate(source).render(CHATS[0])


def test_long_conversations_are_within_budget() -> None:
    source = "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}"
    chat = [{"role": "user", "content": "word " * 400}] * 2000
    assert len(ChatTemplate(source).render(chat)) == 2000 * (6 + 1999 + 1)


def test_parts_are_joined_for_templates_that_read_strings(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Hi "}, {"type": "text", "text": "you"}]
    base = model(models.smollm2_hf)
    files = {"tokenizer.json": (base / "tokenizer.json").read_bytes()}
    plain = "{% for m in messages %}{{ '[' + m.content + ']' }}{% endfor %}"
    taken = "{% for m in messages %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endfor %}"
    for source, wanted in ((plain, "[Hi you]"), (taken, "<Hi ><you>")):
        text = Text.load({**files, "chat_template.jinja": source.encode()})
        assert text.render_chat([{"role": "user", "content": parts}]) == wanted
    text = Text.load({**files, "chat_template.jinja": plain.encode()})
    with pytest.raises(SmeltError, match="reads text only"):
        text.render_chat([{"role": "user", "content": [{"type": "image"}]}])


def test_named_templates() -> None:
    base = model(models.smollm2_hf)
    config = {
        "chat_template": [
            {"name": "default", "template": "plain"},
            {"name": "tool_use", "template": "with tools"},
        ]
    }
    text = Text.load(
        {
            "tokenizer.json": (base / "tokenizer.json").read_bytes(),
            "tokenizer_config.json": json.dumps(config).encode(),
        }
    )
    assert text.render_chat(CHATS[0]) == "plain"
    assert text.render_chat(CHATS[0], tools=TOOLS) == "with tools"
    with pytest.raises(SmeltError, match="no chat template `rag`"):
        text.render_chat(CHATS[0], template="rag")


@pytest.mark.parametrize(
    ("pieces", "stops", "shown", "found"),
    [
        (["Hel", "lo wor", "ld"], ["lo w"], "Hel", "lo w"),
        (["a", "b", "c"], ["abd"], "abc", None),
        (["xx", "x"], ["xxxx", "y"], "xxx", None),
        (["one\n", "\ntwo"], ["\n\n"], "one", "\n\n"),
        (["late stop early"], ["early", "stop"], "late ", "stop"),
        (["aab"], ["ab"], "a", "ab"),
    ],
)
def test_stop_strings(pieces: list[str], stops: list[str], shown: str, found: str | None) -> None:
    stop = StopStrings(stops)
    out = "".join([stop.push(p) for p in pieces] + [stop.flush()])
    assert (out, stop.found) == (shown, found)


def test_stop_strings_end_generation_across_tokens() -> None:
    text = load(model(models.smollm2_hf))
    script = text.encode(" The answer is 42. Next question", add_special=False)
    told: Manifest = manifest(vocab_size=text.vocab_size, generation={}, context=2000)
    engine = ScriptedDecoder([*script, 5, 5, 5], told, text.vocab_size)
    shown: list[str] = []
    result = Session(engine, text).generate(
        "Q:", max_new_tokens=20, stop=["2. Ne"], on_token=lambda p: shown.append(p.text)
    )
    assert result.text == " The answer is 4" == "".join(shown)
    assert result.finish == "stop"


def test_slow_vocabularies(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    root = model(models.minilm)
    fast = load(root)
    slow = Text.load({"vocab.txt": (root / "vocab.txt").read_bytes()})
    for sample in SAMPLES:
        assert slow.encode(sample) == fast.encode(sample)
    vocab = {
        c: i for i, c in enumerate(["<|endoftext|>", "h", "e", "l", "o", "Ġ", "he", "ll", "Ġhe"])
    }
    files = {
        "vocab.json": json.dumps(vocab).encode(),
        "merges.txt": b"#version: 0.2\nh e\nl l\n\xc4\xa0 he\n",
        "tokenizer_config.json": b'{"tokenizer_class": "GPT2Tokenizer"}',
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    oracle = transformers.GPT2Tokenizer.from_pretrained(tmp_path)
    ours = Text.load(files)
    for sample in ("hello hello", "he llo<|endoftext|>he"):
        assert ours.encode(sample) == oracle(sample)["input_ids"]
    with pytest.raises(ArtifactError, match="no tokenizer"):
        tokenizer_json({})
    with pytest.raises(UnsupportedError, match="SentencePiece"):
        tokenizer_json({"tokenizer.model": b""})


def test_bad_text_and_files() -> None:
    text = load(model(models.minilm))
    with pytest.raises(SmeltError, match="lone surrogate at character 1"):
        text.encode("a\ud800")
    with pytest.raises(ArtifactError, match="does not load"):
        Text.load({"tokenizer.json": b"{}"})
    with pytest.raises(ArtifactError, match="not JSON"):
        Text.load({"tokenizer.json": b"{}", "tokenizer_config.json": b"{"})
