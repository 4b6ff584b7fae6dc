"""What `smelt specs` and docs/models.md say of each type is what the tests prove."""

from __future__ import annotations

from pathlib import Path

import pytest

from smelt import listing
from smelt.frontend.spec.library import names

PAGE = Path(__file__).parents[1] / "docs" / "models.md"


def test_what_is_said_is_what_is_proven() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from tests.proven import proven, text

    said = listing.PROVEN.read_text(encoding="utf-8")
    assert said == text(proven()), "run `make models`"


def test_the_page_of_models_is_current() -> None:
    hint = "run `make models`"
    assert PAGE.read_text(encoding="utf-8") == listing.markdown(), hint


def test_every_spec_is_compared_with_something() -> None:
    unproven = [spec.name for spec in listing.known_specs() if spec.level == "unproven"]
    assert not unproven, f"no test compares {', '.join(unproven)} with anything"


def test_what_is_absent_is_absent() -> None:
    both = listing.absent().keys() & set(names())
    assert not both, f"{', '.join(sorted(both))}: there is a spec, and a reason for its absence"
