"""The small compiled chat templates from which `runtime/cpp/tests/template_test.cc` starts.

python -m tests.text.template_seeds     writes them again; a test says when that is due
"""

from __future__ import annotations

import json
from functools import partial
from unittest.mock import patch

from smelt.errors import SmeltError
from smelt.frontend.template import compile_template
from smelt.frontend.template.letters import letters
from smelt.runtime import _edge
from tests.text import seeds
from tests.text.chats import TEMPLATES
from tests.text.snippets import STATEMENTS, VARIABLES, expressions

LARGEST = 40_000  # bytes: they are committed
_FAILS = ("raise_exception", "f(k + 1)", "10**6", "strftime_now")


def everything() -> str:
    """All constructs that give a text, each in a scope of its own."""
    parts = [f"{{{{ {part} }}}}" for part in expressions()]
    kept = [part for part in [*parts, *STATEMENTS] if _renders(part)]
    return "\n".join(f"{{% with %}}{part}{{% endwith %}}" for part in kept)


def _renders(source: str) -> bool:
    if any(word in source for word in _FAILS):
        return False
    try:
        code = compile_template(source)
        _edge.Template.open(code).render(json.dumps(VARIABLES).encode(), prepare=False)
    except (SmeltError, RuntimeError):
        return False
    return True


def packed(name: str) -> bytes:
    """The seed of that name, as it is stored: it knows the letters of Europe only."""
    source = everything() if name == "everything" else TEMPLATES[name]
    given = VARIABLES if name == "everything" else {"tools": None, "bos_token": "<s>"}
    with patch("smelt.frontend.template.letters", partial(letters, end=0x250)):
        return seeds.pack(compile_template(source, given))


SEEDS = ("everything", "thinking", "typed")


if __name__ == "__main__":
    for name in SEEDS:
        seeds.FOLDER.joinpath(f"{name}.chat").write_bytes(packed(name))
