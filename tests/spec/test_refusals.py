"""What is outside the language is refused with its place, and a hostile spec costs little."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from smelt.errors import SmeltError, SpecError, UnsupportedError
from smelt.frontend.build import build
from smelt.frontend.spec import library
from tests.spec.texts import CONFIG, LLAMA, TINY, build_text, returning

DEEP = "a = " + "(" * 300 + "1" + ")" * 300
WIDE = "a = " + " + ".join(["1"] * 15_000)

#: What is written → what the error says.
GRAMMAR: dict[str, tuple[str, str]] = {
    "import": ("import os", "Import is not allowed"),
    "from import": ("from os import path", "ImportFrom is not allowed"),
    "dunder import": ('a = __import__("os")', "`__import__` is not a name of the language"),
    "attribute": ("a = config.hidden_size\nb = a.real", "attributes are not part of the language"),
    "class escape": ("a = (1).__class__.__bases__", "attributes are not part of the language"),
    "for": ("for i in (1, 2):\n    a = i", "For is not allowed"),
    "while": ("while True:\n    a = 1", "While is not allowed"),
    "comprehension": ("a = [i for i in (1, 2)]", "ListComp is not allowed"),
    "generator": ("a = max(i for i in (1, 2))", "GeneratorExp is not allowed"),
    "lambda": ("a = lambda x: x", "Lambda is not allowed"),
    "list": ("a = [1, 2]", "List is not allowed"),
    "dict": ("a = {1: 2}", "Dict is not allowed"),
    "walrus": ("a = (b := 1)", "NamedExpr is not allowed"),
    "format string": ('a = f"{config}"', "JoinedStr is not allowed"),
    "bytes": ('a = b"x"', "bytes literals are not allowed"),
    "slice": ("a = (1, 2)[0:1]", "Slice is not allowed"),
    "starred": ("a = max(*(1, 2))", "Starred is not allowed"),
    "double star": ("a = max(**config)", "`**` in a call"),
    "decorator": ("@repeat\ndef f(x):\n    return x", "no decorators"),
    "annotation": ("def f(x: 1):\n    return x", "no decorators or annotations"),
    "varargs": ("def f(*x):\n    return x", "only plain parameters"),
    "if statement": ("def f(x):\n    if x:\n        y = 1\n    return x", "If is not allowed"),
    "nested function": ("def f(x):\n    def g(y):\n        return y\n    return x", "FunctionDef"),
    "no return": ("def f(x):\n    y = x", "does not end with return"),
    "call of a call": ("a = repeat(1)(2)", "only a plain name can be called"),
    "defined twice": ("a = 1\na = 2", "`a` is defined twice"),
    "config": ("config = 1", "`config` may not be defined"),
    "late extends": ('a = 1\nextends("llama")', "extends comes after a definition"),
    "assert": ("assert True", "Assert is not allowed"),
    "del": ("del a", "Delete is not allowed"),
    "global": ("def f(x):\n    global y\n    return x", "Global is not allowed"),
    "try": ("try:\n    a = 1\nexcept:\n    a = 2", "Try is not allowed"),
    "augmented": ("a = 1\na += 1", "AugAssign is not allowed"),
    "matmul": ("a = 1 @ 2", "MatMult is not allowed"),
    "shift": ("a = 1 << 60", "LShift is not allowed"),
    "async": ("async def f():\n    return 1", "AsyncFunctionDef is not allowed"),
    "syntax": ("a = = 1", "syntax error"),
    "null byte": ("a = 1\0", ""),
    "deep": (DEEP, "brackets nest 300 deep"),
    "wide": (WIDE, ""),
    "not text": ("a = '\udc80'", ""),
}


@pytest.mark.parametrize("name", GRAMMAR)
def test_the_grammar_ends_here(name: str) -> None:
    text, message = GRAMMAR[name]
    with pytest.raises((SpecError, UnicodeError)) as caught:
        build_text(text + "\n" + TINY)
    if isinstance(caught.value, SpecError):
        assert message in str(caught.value)


def test_an_error_shows_place_caret_and_hint() -> None:
    with pytest.raises(SpecError) as caught:
        build_text("a = 1\nb = [a]\n" + TINY)
    assert str(caught.value).splitlines() == [
        "List is not allowed in an expression",
        "  --> tiny.arch:2:5",
        "   | b = [a]",
        "   |     ^",
        "",
        "hint: use a tuple: (a, b)",
    ]


#: A value of the model's text → what the error says.
VALUES: dict[str, tuple[str, str]] = {
    "unknown function": ("liner(x, out=3)", "did you mean `linear`?"),
    "unknown name": (
        "linear(x, out=config.vocab_size) + attention_msk",
        "did you mean `attention_mask`?",
    ),
    "unknown argument": ("linear(x, outt=3)", "outt"),
    "unknown op argument": ("rms_norm(x, epss=1.0)", "epss"),
    "internal op": ('param(name="a", type=x)', "type"),
    "shapes": ("x + constant((1.0, 2.0, 3.0))", "do not broadcast"),
    "channels": ("matmul(x, x)", "inner sizes: 4 and seq differ"),
    "none": ("x * config.absent", "a missing config key?"),
    "none arithmetic": ("linear(x, out=config.absent * 2)", "a missing config key?"),
    "truth of a tensor": ("x if x else x", "a tensor has no truth value"),
    "compared tensors": ("x if x == x else x", "tensors are compared with"),
    "huge power": ("x * 10 ** 1000", "is too large"),
    "nested power": ("x * 9 ** 9 ** 9", "is too large"),
    "huge product": ("x * (4000000000 * 4000000000 * 4000000000)", "number is too large"),
    "float overflow": ("x * exp(10000.0)", "range"),
    "division by zero": ("x * (1 / 0)", "division by zero"),
    "huge repeat": ("repeat(1000000000, same, x)", "repeat count is 1000000000"),
    "negative repeat": ("repeat(-1, same, x)", "repeat count is -1"),
    "nested repeats": ("repeat(1024, outer, x)", "more than 100000 calls"),
    "doubling": ("double20(x)", "more than 100000 calls"),
    "endless": ("endless(x)", "calls nest more than 40 deep"),
    "string growth": ("named(repeat(100, twice, text))", "longer than 10000"),
    "tuple growth": ("filled(0.0, shape=joined7(joined7(ones)))", "longer than 10000"),
    "rank": ("filled(0.0, shape=joined7((batch,)))", "a shape of 32 sizes"),
    "size growth": ("filled(0.0, shape=(repeat(100, square, batch),))", "size has more than 64"),
    "long path": ("linear(x, at=repeat(9, twice, text), out=3)", "weight path has"),
    "path of a number": ("linear(x, at=3, out=3)", "at is 3"),
    "circle": ("x * first_value", "definitions go in a circle: first_value → second_value"),
    "deep functions": ("deep(x)", ""),
    "index": ("x * (1, 2)[5]", "index 5 is outside 2 values"),
    "call of a number": ("ones(x)", "is not a function"),
    "slot twice": (
        'remember(x, "s") + remember(x + 1.0, "s")',
        "slot `s` is written twice",
    ),
    "slot unknown": ('recall("other")', "read before any function stored it"),
    "three for two": ("three(x)", "3 values for 2 names"),
    "odd rotation": ("rope(reshape(x, shape=(batch, 1, seq, 4)), width=3)", "an even number"),
    "rope type": (
        "rope(reshape(x, shape=(batch, 1, seq, 4)), parameters=config.rope)",
        "rope type `unknown` is not known",
    ),
    "activation": ('activate(x, "gelo")', "activation `gelo` is not known"),
    "buckets": (
        "cast(log_buckets(offsets(seq, seq), count=32, furthest=1000000000, both_ways=True), "
        '"float")',
        "at most 65536",
    ),
}
DEFINITIONS = """
text = "name"
ones = (1, 1)
first_value = second_value
second_value = first_value

def same(x):
    return x

def outer(x):
    return repeat(1024, same, x)

def twice(x):
    return x + x

def joined7(x):
    return twice(twice(twice(twice(twice(twice(twice(x)))))))

def square(x):
    return x * x

def named(x):
    return param(x, shape=(1,))

def endless(x):
    return endless(x)

def three(x):
    a, b = (x, x, x)
    return a
""" + "\n".join(
    f"def double{n}(x):\n    return double{n - 1}(x) + double{n - 1}(x)" for n in range(1, 21)
)
DEEP_SUM = "+".join(["x"] * 55)


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_cannot_be_is_refused(name: str) -> None:
    expression, message = VALUES[name]
    definitions = DEFINITIONS + "\ndef double0(x):\n    return x\n"
    definitions += "".join(
        f"def deep{n or ''}(x):\n    return {f'deep{n + 1}(' if n < 38 else '('}{DEEP_SUM})\n"
        for n in range(39)
    )
    config = {**CONFIG, "rope": {"rope_type": "unknown"}}
    start = time.perf_counter()
    if name == "deep functions":
        build_text(definitions + returning(expression), config)
        return
    with pytest.raises(SmeltError) as caught:
        build_text(definitions + returning(expression), config)
    assert message in str(caught.value)
    assert time.perf_counter() - start < 20, "a refusal takes no time"


def test_a_circle_of_parents_is_refused(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("specs")
    (folder / "one.arch").write_text('extends("two")\n')
    (folder / "two.arch").write_text('extends("one")\n')
    monkeypatch.setattr(library, "LIBRARY", folder)
    library.builtin.cache_clear()
    with pytest.raises(SpecError, match="extends goes in a circle"):
        build({"model_type": "one"}, task="causal_lm")
    library.builtin.cache_clear()


def test_an_unknown_type_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean `llama`"):
        build({"model_type": "lama"})


@pytest.mark.parametrize("name", ["../llama", "base/decoder", "a\0b", "", "x" * 5000])
def test_a_type_is_no_path(name: str) -> None:
    with pytest.raises(SmeltError):
        build({"model_type": name})


def test_a_file_that_is_too_large_is_not_read() -> None:
    with pytest.raises(SpecError, match="at most 65536"):
        build_text("# " + "x" * 70_000 + TINY)


def test_mutated_specs_only_ever_fail_with_our_errors() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(library.LIBRARY.glob("*.arch"))]
    chance = random.Random(7)
    for _ in range(400):
        text = list(chance.choice(texts))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text))
            text[at : at + chance.randint(0, 3)] = chance.choice(
                "()=.,:x1 \n+*[]\"'@"
            ) * chance.randint(0, 2)
        try:
            build_text("".join(text), LLAMA, task="causal_lm")
        except SmeltError as error:
            assert str(error)


def test_mutated_configs_only_ever_fail_with_our_errors() -> None:
    odd: tuple[Any, ...] = (
        None,
        -1,
        0,
        1,
        3,
        2**70,
        1e300,
        float("nan"),
        "",
        "x",
        [],
        [1, "a"],
        {},
        {"a": 1},
        True,
    )
    chance = random.Random(8)
    for _ in range(600):
        config = dict(LLAMA)
        for key in chance.sample([*config, "layer_types", "id2label"], chance.randint(1, 2)):
            config[key] = chance.choice(odd)
        config["model_type"] = chance.choice(library.names())
        try:
            build(config, task=chance.choice(["causal_lm", "sequence_classification", "masked_lm"]))
        except SmeltError as error:
            assert str(error)


LEARNED: dict[str, dict[str, object]] = {
    "bert": {"architectures": ["BertModel"]},
    "roberta": {"architectures": ["RobertaModel"], "pad_token_id": 1},
    "gpt2": {"architectures": ["GPT2LMHeadModel"]},
    "opt": {"architectures": ["OPTForCausalLM"]},
    "whisper": {"architectures": ["WhisperForConditionalGeneration"]},
}


@pytest.mark.parametrize("model_type", LEARNED)
def test_context_beyond_learned_positions_is_refused(model_type: str) -> None:
    from transformers import AutoConfig

    config = {**AutoConfig.for_model(model_type).to_dict(), **LEARNED[model_type]}
    with pytest.raises(UnsupportedError, match="longer than the model's") as found:
        build(config, context=60_000)
    assert "--context" in str(found.value.hint)
