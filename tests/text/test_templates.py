"""Compiled chat templates give jinja2's text, as `transformers` sets it up, or an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import pytest

from smelt.chat_samples import CHATS, TOOLS
from smelt.errors import SmeltError, UnsupportedError
from smelt.frontend.checkpoint.gguf_file import GgufFile
from smelt.frontend.template import compile_template
from smelt.runtime import _edge
from tests import models
from tests.text import seeds, template_seeds
from tests.text.chats import TEMPLATES
from tests.text.snippets import ONLY_ERRORS, REFUSED, STATEMENTS, VARIABLES, expressions


@cache
def oracle(source: str) -> Callable[..., str]:
    """The same template in jinja2, made by `transformers`."""
    library = pytest.importorskip("transformers.utils.chat_template_utils")
    render: Callable[..., str] = library._compile_jinja_template(source).render
    return render


def wanted(source: str, data: str) -> str | None:
    """What jinja2 renders; None when it fails."""
    try:
        return oracle(source)(**json.loads(data))
    except Exception:  # templates may fail in any way
        return None


def rendered(source: str, data: str) -> str | None:
    """What the compiled template renders; None when it refuses."""
    try:
        code = compile_template(source)
        return str(_edge.Template.open(code).render(data.encode(), prepare=False).decode())
    except (SmeltError, RuntimeError):
        return None


def test_each_construct_is_as_in_jinja2() -> None:
    data = json.dumps(VARIABLES)
    wrong, compared = [], 0
    for source in [*(f"{{{{ {part} }}}}" for part in expressions()), *STATEMENTS]:
        ours, theirs = rendered(source, data), wanted(source, data)
        compared += 1
        is_known = any(part in source for part in ONLY_ERRORS)
        if ours != theirs and not (ours is None and is_known):
            wrong.append((source, ours, theirs))
    assert not wrong
    assert compared > 500


@pytest.mark.parametrize("name", ["s", "n", "f", "t", "no", "xs", "d"])
def test_attributes_of_python_are_known(name: str) -> None:
    """Whatever Python's types have is told apart from a key of that name."""
    data = json.dumps(VARIABLES)
    names = [a for a in dir(VARIABLES[name]) if not a.startswith("_") and a != "is_integer"]
    for form in ("{{ %s.%s is defined }}", "{{ %s['%s'] is defined }}"):
        source = " ".join(form % (name, attribute) for attribute in [*names, "other"])
        assert rendered(source, data) == wanted(source, data)


@pytest.mark.parametrize("source", REFUSED)
def test_refusals_name_the_construct_and_line(source: str) -> None:
    with pytest.raises(UnsupportedError, match=REFUSED[source].replace("*", r"\*")) as caught:
        compile_template(source)
    lines = source.count("\n") + 1
    if "parse" not in REFUSED[source]:
        assert caught.value.place == f"line {lines}"


def conversations() -> Iterator[str]:
    """Each conversation as JSON, with and without tools, a prompt, and more variables."""
    more: list[Mapping[str, Any]] = [{}, {"enable_thinking": False, "date_string": "1 May"}]
    for chat in CHATS.values():
        for tools in (None, TOOLS):
            for number, variables in enumerate(more):
                given = {"messages": chat, "tools": tools, "documents": None, **variables}
                prompt = {"add_generation_prompt": number == 0}
                yield json.dumps({"bos_token": "<s>", "eos_token": "</s>", **prompt, **given})


def differences(source: str, step: int = 1) -> tuple[int, list[str]]:
    """Conversations that give a text, and those that give different ones."""
    wrong: list[str] = []
    count = 0
    code = _edge.Template.open(compile_template(source))
    for data in [*conversations()][::step]:
        theirs = wanted(source, data)
        try:
            ours: str | None = code.render(data.encode(), prepare=False).decode()
        except RuntimeError:
            ours = None
        count += ours is not None
        if ours != theirs:
            wrong.append(data)
    return count, wrong


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_of_chats(name: str) -> None:
    count, wrong = differences(TEMPLATES[name])
    assert not wrong
    assert count >= 8


def _of_gguf(path: Any) -> str:
    return str(GgufFile(path).metadata["tokenizer.chat_template"])


REAL: dict[str, Callable[[], str]] = {
    "smollm2": lambda: (models.smollm2_hf() / "chat_template.jinja").read_text(),
    "smollm2-gguf": lambda: _of_gguf(models.smollm2_gguf()),
    "qwen-coder": lambda: _of_gguf(next(models.qwen_coder_gguf().parent.glob("*.gguf"))),
    "phi-3": lambda: _of_gguf(models.llama_cpp_vocabularies() / "ggml-vocab-phi-3.gguf"),
    "command-r": lambda: _of_gguf(models.llama_cpp_vocabularies() / "ggml-vocab-command-r.gguf"),
}


@pytest.mark.parametrize("name", REAL)
def test_templates_of_real_models(name: str) -> None:
    try:
        source = REAL[name]()
    except models.ModelUnavailable as error:
        pytest.skip(str(error))
    count, wrong = differences(source)
    assert not wrong
    assert count >= 8


def test_templates_of_llama_cpp() -> None:
    """Those that have code give jinja2's text; the others are few, and known."""
    try:
        folder = models.llama_cpp_templates()
    except models.ModelUnavailable as error:
        pytest.skip(str(error))
    refused, wrong, texts, count = [], [], 0, 0
    for path in sorted(folder.glob("*.jinja")):
        count += 1
        try:
            found, different = differences(path.read_text(), 3)
        except UnsupportedError as error:
            refused.append((path.stem, error.message))
            continue
        texts += found
        wrong += [(path.stem, data) for data in different]
    assert not wrong
    assert count >= 70 and texts >= 300
    assert {reason for _, reason in refused} == {"chat template uses the filter `from_json`"}


def test_messages_are_prepared_as_in_python() -> None:
    source = "{% for m in messages %}{{ m | tojson }}{% endfor %}"
    code = _edge.Template.open(compile_template(source, {"bos_token": "<s>"}, join_parts=True))
    chat = [
        {"role": "assistant", "content": None, "reasoning": "why"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}]},
    ]
    assert json.loads(b"[" + code.render(json.dumps({"messages": chat[:1]}).encode()) + b"]") == [
        {"thinking": "why", "role": "assistant", "reasoning": "why", "reasoning_content": "why"}
    ]
    assert b'"content": "ab"' in code.render(json.dumps({"messages": chat[1:]}).encode())
    for bad in ("", "[]", '{"messages": []}', '{"messages": [1]}', '{"a": 01}', '{"a": "\\ud800"}'):
        with pytest.raises(RuntimeError):
            code.render(bad.encode())


HOSTILE = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
    "{{ n.x }}",
    "{% set n = namespace() %}{% set n.a = n %}{{ n }}",
    "{{ 'a' * 10 ** 10 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
    "{{ 'x' | indent(10 ** 9) }}",
    "{% for i in range(9999) %}{{ 'a' * 1000 }}{% endfor %}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ range(10 ** 9) | list }}",
    "{{ (' ' * 10 ** 6).strip('a' * 10 ** 6 + ' ') }}",
    "{{ ('a' * 10 ** 6) | replace('a' * 500000 + 'b', '') }}",
    "{% set x = ' ' * 10 ** 6 %}{% for i in range(99999) %}{% if x | int %}{% endif %}{% endfor %}",
    "{% set x = 'a' * 10 ** 6 %}{% for i in range(99999) %}{% if x ~ 'b' == x ~ 'c' %}{% endif %}"
    "{% endfor %}",
    "{% set x %}{% for i in range(99999) %}aaaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}{% endset %}",
]


@pytest.mark.parametrize("source", HOSTILE)
def test_hostile_templates_are_stopped(source: str) -> None:
    with pytest.raises(RuntimeError):
        _edge.Template.open(compile_template(source)).render(b"{}", prepare=False)


def test_errors_have_the_template_s_line_and_refusals_their_text() -> None:
    code = compile_template("a\n{% if true %}\n{{ raise_exception('no ' ~ 1) }}{% endif %}")
    with pytest.raises(RuntimeError, match="line 3: refuses the conversation: no 1"):
        _edge.Template.open(code).render(b"{}", prepare=False)


def test_the_same_template_gives_the_same_bytes() -> None:
    assert compile_template(TEMPLATES["typed"]) == compile_template(TEMPLATES["typed"])
    assert len(compile_template(TEMPLATES["chatml"])) < 16_000


def test_the_clock_is_the_caller_s() -> None:
    code = _edge.Template.open(compile_template("{{ strftime_now('%Y-%m') }}"))
    assert code.render(b"{}", prepare=False, now=1709200000) == b"2024-02"


@pytest.mark.parametrize("name", template_seeds.SEEDS)
def test_seeds_are_up_to_date(name: str) -> None:
    stored = seeds.FOLDER.joinpath(f"{name}.chat").read_bytes()
    assert stored == template_seeds.packed(name), "run python -m tests.text.template_seeds"
    assert len(stored) <= template_seeds.LARGEST
