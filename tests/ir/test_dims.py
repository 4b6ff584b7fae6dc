"""The algebra of symbolic sizes, against plain integers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.errors import SmeltError
from smelt.ir.dims import (
    Size,
    evaluate,
    exact_divide,
    parse_size,
    substitute,
    symbol,
)

NAMES = ("batch", "past", "seq")
VALUES = st.fixed_dictionaries({name: st.integers(0, 9) for name in NAMES})


def _combine(children: st.SearchStrategy[Size]) -> st.SearchStrategy[Size]:
    pairs = st.tuples(children, children)
    return st.one_of(
        pairs.map(lambda p: p[0] + p[1]),
        pairs.map(lambda p: p[0] - p[1]),
        pairs.map(lambda p: p[0] * p[1]),
        st.tuples(children, st.integers(1, 5)).map(lambda p: p[0] // p[1]),
    )


LEAVES: st.SearchStrategy[Size] = st.one_of(st.integers(-6, 6), st.sampled_from(NAMES).map(symbol))
SIZES = st.recursive(LEAVES, _combine, max_leaves=8)


@given(SIZES, SIZES, SIZES, VALUES)
def test_arithmetic_is_that_of_integers(a: Size, b: Size, c: Size, v: dict[str, int]) -> None:
    x, y = (evaluate(s, v) for s in (a, b))
    assert evaluate(a + b, v) == x + y
    assert evaluate(a - b, v) == x - y
    assert evaluate(a * b, v) == x * y
    assert evaluate(a // 3, v) == x // 3
    assert (a + b) * c == a * c + b * c
    assert a + b == b + a and a * b == b * a
    assert (a + b) + c == a + (b + c) and (a * b) * c == a * (b * c)
    assert a - a == 0 and hash(a + b) == hash(b + a)
    assert evaluate(5 - a, v) == 5 - x


@given(SIZES)
def test_text_reads_back(a: Size) -> None:
    assert parse_size(str(a)) == a


@given(SIZES, SIZES, VALUES)
def test_substitution_then_evaluation(a: Size, b: Size, v: dict[str, int]) -> None:
    inner = evaluate(b, v)
    assert evaluate(substitute(a, {"seq": b}), v) == evaluate(a, {**v, "seq": inner})


@given(SIZES, st.sampled_from([1, 2, 3, symbol("seq"), 2 * symbol("batch")]))
def test_exact_division_undoes_a_product(a: Size, by: Size) -> None:
    assert exact_divide(a * by, by) == a


@pytest.mark.parametrize(
    ("size", "by"),
    [(7, 2), (symbol("seq"), 2), (symbol("seq") + 1, symbol("seq")), (3, symbol("seq"))],
)
def test_division_that_leaves_a_rest(size: Size, by: Size) -> None:
    assert exact_divide(size, by) is None


def test_known_sizes_are_integers() -> None:
    seq = symbol("seq")
    assert seq - seq == 0 and isinstance(seq - seq, int)
    assert (2 * seq + 4) // 2 == seq + 2
    assert str((seq + 1) // 2) == "(seq + 1)//2"
    assert str(symbol("past") + seq - 1) == "past + seq - 1"


@pytest.mark.parametrize(
    "text", ["", "a b", "a(1)", "1.5", "a % 2", "a // b", "x.y", "True", "((((" * 99]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(SmeltError, match="is not a size"):
        parse_size(text)
