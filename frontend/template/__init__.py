"""Chat templates as code that the C++ runtime runs (`runtime/cpp/template`, docs/templates.md).

jinja2 parses a template and says which variable is meant where; what is refused here is refused
with its line, so a compiled template gives jinja2's text or an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from smelt.errors import UnsupportedError
from smelt.frontend.template.letters import letters
from smelt.frontend.template.program import Program
from smelt.frontend.template.statements import Statements

MOST_CHARACTERS = 1 << 18
#: A template that prints lists of parts as lists gets their text instead.
JOIN_PARTS = 1


class _Generation(Extension):
    """`{% generation %}` marks what the assistant said, for training: a scope, nothing else."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 wants a plain set here

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_"), [], [], body).set_lineno(line)


def compile_template(
    source: str, variables: Mapping[str, Any] | None = None, *, join_parts: bool = False
) -> bytes:
    """The code of a template; UnsupportedError names the construct that has none and its line.

    variables: what names hold that a conversation does not set, such as bos_token.
    join_parts: content in parts is joined to a string before the template sees it.
    """
    if len(source) > MOST_CHARACTERS:
        raise UnsupportedError(f"chat template has more than {MOST_CHARACTERS} characters")
    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    program = Program()
    statements = Statements(program)
    try:
        statements.template(environment.parse(source))
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise UnsupportedError(
            f"chat template does not parse: {error.message}",
            place=f"line {line}" if line else None,
        ) from None
    except (RecursionError, MemoryError):
        raise UnsupportedError("chat template is nested too deeply") from None
    given = json.dumps(dict(variables or {}), ensure_ascii=False)
    flags = JOIN_PARTS if join_parts else 0
    return program.data(flags, given, letters(statements.needs_case))
