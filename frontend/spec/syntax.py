"""From text to definitions: the grammar's fence.

Goals: every construct outside the grammar is refused with its place before anything is evaluated; a
hostile file costs little. Non-goals: speed, and any Python feature that an equation does not need.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from smelt.errors import SpecError

MAX_BYTES = 64 * 1024
MAX_NODES = 20_000
MAX_NESTING = 60

_EXPRESSIONS = (
    ast.Name,
    ast.Constant,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.BoolOp,
    ast.IfExp,
    ast.Call,
    ast.Attribute,
    ast.Subscript,
    ast.Tuple,
)
_OPERATORS = (
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.USub, ast.Not),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.And, ast.Or),
    *(ast.Load, ast.Store),
)
_HINTS: dict[type[ast.AST], str] = {
    ast.Import: "a spec is data: everything it may call is already there",
    ast.ImportFrom: "a spec is data: everything it may call is already there",
    ast.For: "use repeat(count, block, x, at=...)",
    ast.While: "use repeat(count, block, x, at=...)",
    ast.If: "use `a if condition else b`",
    ast.ListComp: "use repeat(count, block, x, at=...)",
    ast.List: "use a tuple: (a, b)",
    ast.Lambda: "define a function with def",
    ast.JoinedStr: "join strings with +",
}


@dataclass(frozen=True)
class Source:
    """A spec's text with its name, for errors."""

    name: str
    lines: tuple[str, ...]

    def error(self, node: ast.AST | None, message: str, hint: str | None = None) -> SpecError:
        """A SpecError that points at a node with a caret."""
        if node is None or not hasattr(node, "lineno"):
            return SpecError(message, place=self.name, hint=hint)
        line, column = int(node.lineno), int(node.col_offset)  # type: ignore[attr-defined]
        text = self.lines[line - 1][:160] if line <= len(self.lines) else ""
        excerpt = f"{text}\n{' ' * min(column, 160)}^"
        place = f"{self.name}:{line}:{column + 1}"
        return SpecError(message, place=place, excerpt=excerpt, hint=hint)


@dataclass(frozen=True)
class Definition:
    """One name of a spec: a function or the expression bound to it, and where it stands."""

    name: str
    node: ast.FunctionDef | ast.expr
    source: Source


@dataclass(frozen=True)
class Module:
    """A parsed spec: what it extends, in order, and its own definitions."""

    source: Source
    doc: str
    parents: tuple[str, ...]
    definitions: dict[str, Definition]


def parse_file(path: Path) -> Module:
    """Parse one `.arch` file; SpecError with place, caret and hint for all that is outside the
    grammar.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SpecError(
                f"file has {path.stat().st_size} bytes, at most {MAX_BYTES}", place=path.name
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"cannot read: {error.strerror}", place=str(path)) from error
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8 text: {error.reason}", place=path.name) from error
    return parse_text(text, path.name)


def parse_text(text: str, name: str) -> Module:
    """Parse a spec's text; ``name`` is what errors call it."""
    if len(text) > MAX_BYTES:
        raise SpecError(f"text has {len(text)} characters, at most {MAX_BYTES}", place=name)
    source = Source(name, tuple(text.splitlines()))
    _check_brackets(text, source)
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        at = ast.Pass(lineno=error.lineno or 1, col_offset=max((error.offset or 1) - 1, 0))
        raise source.error(at, f"syntax error: {error.msg}") from None
    except (RecursionError, MemoryError, ValueError) as error:
        raise SpecError(f"cannot be parsed: {error}", place=name) from None
    _check_size(tree, source)
    return _module(tree, source)


def _check_brackets(text: str, source: Source) -> None:
    # Python's own parser uses a stack for each level, so depth is bounded before it runs.
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > MAX_NESTING:
        raise SpecError(f"brackets nest {deepest} deep, at most {MAX_NESTING}", place=source.name)


def _check_size(tree: ast.Module, source: Source) -> None:
    count = 0
    stack: list[tuple[ast.AST, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        count += 1
        if count > MAX_NODES:
            raise SpecError(f"more than {MAX_NODES} syntax nodes", place=source.name)
        if depth > MAX_NESTING:
            raise source.error(node, f"expression nests more than {MAX_NESTING} deep")
        stack.extend((child, depth + 1) for child in ast.iter_child_nodes(node))


def _module(tree: ast.Module, source: Source) -> Module:
    parents: list[str] = []
    definitions: dict[str, Definition] = {}
    for position, statement in enumerate(tree.body):
        match statement:
            case ast.Expr(value=ast.Constant(value=str())) if position == 0:
                continue
            case ast.Expr(
                value=ast.Call(
                    func=ast.Name(id="extends"),
                    args=[ast.Constant(value=str() as parent)],
                    keywords=[],
                )
            ):
                if definitions:
                    raise source.error(
                        statement, "extends comes after a definition", "put it first"
                    )
                parents.append(parent)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                _check_expression(value, source)
                definitions[name] = _new(name, value, statement, definitions, source)
            case ast.FunctionDef(name=name):
                _check_function(statement, source)
                definitions[name] = _new(name, statement, statement, definitions, source)
            case _:
                raise _refuse(statement, source, "at the top of a spec")
    return Module(source, ast.get_docstring(tree) or "", tuple(parents), definitions)


def _new(
    name: str,
    node: ast.FunctionDef | ast.expr,
    statement: ast.stmt,
    known: dict[str, Definition],
    source: Source,
) -> Definition:
    if name in known:
        raise source.error(statement, f"`{name}` is defined twice")
    if name == "config" or name.startswith("_"):
        raise source.error(statement, f"`{name}` may not be defined")
    return Definition(name, node, source)


def _check_function(function: ast.FunctionDef, source: Source) -> None:
    a = function.args
    if function.decorator_list or function.returns or a.vararg or a.kwarg or a.posonlyargs:
        raise source.error(function, "only plain parameters, no decorators or annotations")
    if a.kwonlyargs or any(p.annotation for p in a.args):
        raise source.error(function, "only plain parameters, no decorators or annotations")
    for default in a.defaults:
        _check_expression(default, source)
    body = function.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    if not body or not isinstance(body[-1], ast.Return):
        raise source.error(function, f"`{function.name}` does not end with return")
    for statement in body[:-1]:
        match statement:
            case ast.Assign(targets=[ast.Name() | ast.Tuple() as target], value=value):
                parts = target.elts if isinstance(target, ast.Tuple) else [target]
                if not all(isinstance(part, ast.Name) for part in parts):
                    raise _refuse(statement, source, "in a function")
                _check_expression(value, source)
            case _:
                raise _refuse(statement, source, "in a function")
    result = body[-1].value
    if result is None:
        raise source.error(body[-1], "return without a value")
    _check_expression(result, source)


def _check_expression(root: ast.expr, source: Source) -> None:
    for node in ast.walk(root):
        if isinstance(node, (ast.keyword, *_OPERATORS)):
            if isinstance(node, ast.keyword) and node.arg is None:
                raise source.error(root, "`**` in a call is not part of the language")
            continue
        if not isinstance(node, _EXPRESSIONS):
            raise _refuse(node, source, "in an expression", root)
        match node:
            case ast.Attribute(value=ast.Name(id="config") | ast.Attribute()):
                pass
            case ast.Attribute():
                raise source.error(
                    node, "attributes are not part of the language", "only config.key"
                )
            case ast.Call(func=ast.Name()):
                pass
            case ast.Call():
                raise source.error(node, "only a plain name can be called")
            case ast.Constant(value=str() | int() | float() | bool() | None):
                pass
            case ast.Constant():
                raise source.error(node, f"{type(node.value).__name__} literals are not allowed")
            case ast.Name(id=name) if name.startswith("__"):
                raise source.error(node, f"`{name}` is not a name of the language")


def _refuse(node: ast.AST, source: Source, where: str, root: ast.AST | None = None) -> SpecError:
    kind = type(node).__name__
    hint = _HINTS.get(type(node), "see docs/spec-language.md for the whole grammar")
    # An operator has no place of its own.
    place = node if hasattr(node, "lineno") else root
    return source.error(place, f"{kind} is not allowed {where}", hint)
