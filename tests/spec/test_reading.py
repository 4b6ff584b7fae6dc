"""docs/reading-the-ir.md shows what its configs print, whole and in order."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from smelt.folding import fold_graph
from smelt.frontend.build import build
from smelt.frontend.checkpoint.dialect import normalise
from smelt.ir.printer import print_program

PAGE = Path(__file__).parents[2] / "docs" / "reading-the-ir.md"
BLOCK = re.compile(r"```(json|text)\n(.*?)\n```", re.DOTALL)


def printed(config: dict[str, Any]) -> str:
    """The program of a config as the page shows it: without the place that each line ends with."""
    text = fold_graph(print_program(build(normalise(config, "config.json"))))
    return re.sub(r"  @ .*$", "", text, flags=re.MULTILINE).replace("\n\n", "\n")


def test_the_page_shows_what_is_printed() -> None:
    sections: list[tuple[dict[str, Any], list[str]]] = []
    for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "json":
            sections.append((json.loads(text), []))
        else:
            sections[-1][1].append(text)
    assert [config["model_type"] for config, _ in sections] == ["mamba", "deepseek_v3"]
    for config, shown in sections:
        assert "\n".join(shown) + "\n" == printed(config)
