"""Specs stay small: the mean is under 40 lines, and a variant of Llama is under 12."""

from __future__ import annotations

import ast
from collections.abc import Callable
from statistics import mean, median

from smelt.frontend.spec import library

#: What a variant of Llama leaves as it is; a spec that says one of these is another architecture.
KEPT = {"attend", "qkv", "model", "rotates"}


def lines(name: str) -> int:
    """Lines of equations: neither blank, nor a comment, nor the sentence at the top."""
    module = library.builtin(name)
    found = [line for line in module.source.lines if line.strip() and line.strip()[0] != "#"]
    return len(found) - len((module.doc or "").splitlines())


def test_the_mean_spec_is_under_40_lines(
    record_property: Callable[[str, object], None],
) -> None:
    sizes = [lines(name) for name in library.names()]
    record_property(
        "figure specs",
        f"{len(sizes)}, lines: mean {mean(sizes):.1f}, median {median(sizes):.0f}",
    )
    assert mean(sizes) < 40


def test_a_variant_of_llama_is_under_12_lines(
    record_property: Callable[[str, object], None],
) -> None:
    children = [n for n in library.names() if library.builtin(n).parents == ("llama",)]
    variants = {n: lines(n) for n in children if not library.builtin(n).definitions.keys() & KEPT}
    small = {name: size for name, size in variants.items() if _functions(name) <= 2}
    record_property(
        "figure variants of llama",
        f"{len(small)}, lines: mean {mean(small.values()):.1f}, most {max(small.values())}; "
        f"all {len(children)} that extend it alone: median {median(map(lines, children)):.0f}",
    )
    assert len(small) > 10
    too_large = {name: size for name, size in small.items() if size >= 12}
    assert not too_large


def _functions(name: str) -> int:
    definitions = library.builtin(name).definitions.values()
    return sum(isinstance(definition.node, ast.FunctionDef) for definition in definitions)
