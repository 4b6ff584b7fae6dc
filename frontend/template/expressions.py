"""Expressions of templates as code for a stack machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.idtracking import Symbols

from smelt.errors import UnsupportedError
from smelt.frontend.template.names import (
    ABSENT,
    BINARY,
    CASED,
    CASED_METHODS,
    COMPARE,
    FILTER_ALIASES,
    FILTER_NUMBERS,
    FILTERS,
    HIDDEN_METHODS,
    METHOD_NUMBERS,
    METHODS,
    SPECIALS,
    TEST_ALIASES,
    TEST_NUMBERS,
    TESTS,
    Signature,
)
from smelt.frontend.template.program import Program

#: Globals of jinja2 that templates for chats have no use for.
NO_GLOBALS = {"lipsum", "cycler", "joiner", "self"}


@dataclass
class Scope:
    """The variables of one of jinja2's frames: which slot holds which of its identifiers."""

    symbols: Symbols
    outer: Scope | None = None
    slots: dict[str, int] = field(default_factory=dict)

    def slot(self, identifier: str) -> int:
        """The slot of an identifier, here or further out."""
        scope: Scope | None = self
        while scope is not None:
            if identifier in scope.slots:
                return scope.slots[identifier]
            scope = scope.outer
        raise AssertionError(f"no scope holds {identifier}")


class Expressions:
    """Emits the code of expressions; each leaves one value on the stack."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.needs_case = False
        self.scope = Scope(Symbols())

    def refuse(self, node: nodes.Node, what: str) -> NoReturn:
        """The template uses something that has no code."""
        raise UnsupportedError(f"chat template uses {what}", place=f"line {node.lineno}")

    def slot_of(self, name: str) -> int:
        """The slot in which a name is found from here."""
        return self.scope.slot(self.scope.symbols.ref(name))

    def visit(self, node: nodes.Node) -> None:
        """Emit one expression."""
        rule: Callable[[Any], None] | None = getattr(self, f"visit_{type(node).__name__}", None)
        if rule is None:
            self.refuse(node, f"`{type(node).__name__}`")
        line, self.program.line = self.program.line, node.lineno
        rule(node)
        self.program.line = line

    def special(self, name: str, text: str = "") -> None:
        """Push none, true, an undefined value …"""
        self.program.emit("special", SPECIALS.index(name), 0, self.program.string(text))

    def constant(self, value: Any, node: nodes.Node) -> None:
        """Push a constant."""
        if value is ABSENT:
            self.special("missing")
        elif value is None:
            self.special("none")
        elif isinstance(value, bool):
            self.special("true" if value else "false")
        elif isinstance(value, str):
            self.program.emit("string", c=self.program.string(value))
        elif isinstance(value, int | float):
            kind = "float" if isinstance(value, float) else "int"
            self.program.emit(kind, c=self.program.number(value))
        else:
            self.refuse(node, f"a constant of type {type(value).__name__}")

    def visit_Const(self, node: nodes.Const) -> None:
        self.constant(node.value, node)

    def visit_TemplateData(self, node: nodes.TemplateData) -> None:
        self.constant(node.data, node)

    def visit_Name(self, node: nodes.Name) -> None:
        if node.name in NO_GLOBALS:
            self.refuse(node, f"the name `{node.name}`")
        self.program.emit("load", c=self.slot_of(node.name))

    def visit_Tuple(self, node: nodes.Tuple) -> None:
        self._all(node.items)
        self.program.emit("tuple", c=len(node.items))

    def visit_List(self, node: nodes.List) -> None:
        self._all(node.items)
        self.program.emit("list", c=len(node.items))

    def visit_Dict(self, node: nodes.Dict) -> None:
        for pair in node.items:
            self.visit(pair.key)
            self.visit(pair.value)
        self.program.emit("dict", c=len(node.items))

    def visit_Concat(self, node: nodes.Concat) -> None:
        self._all(node.nodes)
        self.program.emit("concat", c=len(node.nodes))

    def visit_Compare(self, node: nodes.Compare) -> None:
        if len(node.ops) != 1:
            self.refuse(node, "a chain of comparisons")
        self.visit(node.expr)
        self.visit(node.ops[0].expr)
        self.program.emit("compare", COMPARE.index(node.ops[0].op))

    def visit_Not(self, node: nodes.Not) -> None:
        self.visit(node.node)
        self.program.emit("not")

    def visit_Neg(self, node: nodes.Neg) -> None:
        self.visit(node.node)
        self.program.emit("negate", 1)

    def visit_Pos(self, node: nodes.Pos) -> None:
        self.visit(node.node)
        self.program.emit("negate", 0)

    def _binary(self, node: nodes.BinExpr) -> None:
        left = getattr(node.left, "value", None)
        if isinstance(node, nodes.Mod) and isinstance(left, str):
            self.refuse(node, "formatting with `%`")
        if isinstance(node, nodes.Pow) and self._is_negative(node.left):
            # jinja2 writes the constant without its brackets: -2 ** x is then -(2 ** x).
            self.refuse(node, "a power of a negative constant")
        self.visit(node.left)
        self.visit(node.right)
        self.program.emit("binary", BINARY.index(type(node).__name__))

    def _is_negative(self, node: nodes.Expr) -> bool:
        try:
            value = node.as_const()
        except nodes.Impossible:
            return False
        return isinstance(value, int | float) and value < 0

    visit_Add = visit_Sub = visit_Mul = visit_Div = _binary
    visit_FloorDiv = visit_Mod = visit_Pow = _binary

    def visit_And(self, node: nodes.And) -> None:
        self._short(node, "and")

    def visit_Or(self, node: nodes.Or) -> None:
        self._short(node, "or")

    def _short(self, node: nodes.BinExpr, op: str) -> None:
        self.visit(node.left)
        place = self.program.emit(op)
        self.visit(node.right)
        self.program.aim(place)

    def visit_CondExpr(self, node: nodes.CondExpr) -> None:
        self.visit(node.test)
        to_else = self.program.emit("jump_false")
        self.visit(node.expr1)
        to_end = self.program.emit("jump")
        self.program.aim(to_else)
        if node.expr2 is None:
            self.special("undefined", "an inline if without else")
        else:
            self.visit(node.expr2)
        self.program.aim(to_end)

    def visit_Getattr(self, node: nodes.Getattr) -> None:
        if node.attr.startswith("__"):
            self.refuse(node, f"the attribute `{node.attr}`")
        self.visit(node.node)
        self.program.emit("attr", c=self.program.string(node.attr))

    def visit_Getitem(self, node: nodes.Getitem) -> None:
        self.visit(node.node)
        if not isinstance(node.arg, nodes.Slice):
            self.visit(node.arg)
            self.program.emit("item")
            return
        for part in (node.arg.start, node.arg.stop, node.arg.step):
            if part is None:
                self.special("none")
            else:
                self.visit(part)
        self.program.emit("slice")

    # ---- calls ----

    def visit_Call(self, node: nodes.Call) -> None:
        self._plain_call(node)
        if isinstance(node.node, nodes.Getattr):
            self._method(node, node.node)
            return
        self.visit(node.node)
        self._all(node.args)
        for pair in node.kwargs:
            self.constant(pair.key, node)
            self.visit(pair.value)
        self.program.emit("call", len(node.args), len(node.kwargs))

    def _plain_call(self, node: nodes.Call | nodes.Filter | nodes.Test) -> None:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            self.refuse(node, "a call with `*` or `**`")
        if len(node.args) > 100 or len(node.kwargs) > 100:
            self.refuse(node, "more than 100 arguments")

    def _method(self, node: nodes.Call, target: nodes.Getattr) -> None:
        name = target.attr
        if name in HIDDEN_METHODS:  # the sandbox lets nobody call them
            self.visit(target.node)
            self.special("undefined", name)
            self.program.emit("call")
            return
        if name == "format" and self._format(node, target.node):
            return
        if name not in METHODS:
            self.refuse(node, f"the method `{name}`")
        self.needs_case |= name in CASED_METHODS
        self.visit(target.node)
        if name == "cycle":
            self._all(node.args)
            count = len(node.args)
        else:
            count = self._bind(node, f"the method `{name}`", METHODS[name])
        self.program.emit("method", count, METHOD_NUMBERS[name], self.program.string(name))

    def _format(self, node: nodes.Call, target: nodes.Expr) -> bool:
        """A text with plain `{}` is a concatenation."""
        text = target.value if isinstance(target, nodes.Const) else None
        if not isinstance(text, str) or node.kwargs or "{{" in text or "}}" in text:
            return False
        parts = text.split("{}")
        if any("{" in part or "}" in part for part in parts) or len(parts) > len(node.args) + 1:
            return False
        self._all(node.args)
        count = len(node.args)
        slots = [self.program.slot("format") for _ in range(count)]
        for slot in reversed(slots):
            self.program.emit("store", c=slot)
        self.constant(parts[0], node)
        for slot, part in zip(slots, parts[1:], strict=False):
            self.program.emit("load", c=slot)
            self.constant(part, node)
        self.program.emit("concat", c=2 * len(parts) - 1)
        return True

    def visit_Filter(self, node: nodes.Filter) -> None:
        if node.node is None:
            self.refuse(node, "a filter over a block")
        self._filter(node, node.node)

    def _filter(self, node: nodes.Filter, value: nodes.Expr | None) -> None:
        """Emit a filter; without a value, the one on the stack is taken."""
        name = FILTER_ALIASES.get(node.name, node.name)
        if name not in FILTERS or name == "map_attribute":
            self.refuse(node, f"the filter `{node.name}`")
        self._plain_call(node)
        self.needs_case |= name in CASED
        if value is not None:
            self.visit(value)
        if name == "map":
            self._map(node)
        elif name in ("select", "reject", "selectattr", "rejectattr"):
            self._select(node, name)
        else:
            count = self._bind(node, f"the filter `{name}`", FILTERS[name])
            self.program.emit("filter", count, FILTER_NUMBERS[name])

    def _map(self, node: nodes.Filter) -> None:
        if not node.args:
            count = self._bind(node, "the filter `map`", FILTERS["map_attribute"])
            self.program.emit("filter", count, FILTER_NUMBERS["map_attribute"])
            return
        name = self._name(node, node.args[0], FILTERS, FILTER_ALIASES, "filter")
        if name in ("map", "select", "reject", "selectattr", "rejectattr", "default", "safe"):
            self.refuse(node, f"the filter `{name}` in `map`")
        self.needs_case |= name in CASED
        inner = nodes.Filter(None, name, node.args[1:], node.kwargs, None, None, lineno=node.lineno)
        self.program.emit("int", c=self.program.number(FILTER_NUMBERS[name]))
        count = self._bind(inner, f"the filter `{name}`", FILTERS[name])
        self.program.emit("filter", count + 1, FILTER_NUMBERS["map"])

    def _select(self, node: nodes.Filter, name: str) -> None:
        args = list(node.args)
        if node.kwargs:
            self.refuse(node, f"the filter `{name}` with named arguments")
        count = 1
        if name.endswith("attr"):
            if not args:
                self.refuse(node, f"the filter `{name}` without an attribute")
            self.visit(args.pop(0))
            count += 1
        number = -1
        if args:
            test = self._name(node, args.pop(0), TESTS, TEST_ALIASES, "test")
            number = TEST_NUMBERS[test]
            if len(args) != TESTS[test]:
                self.refuse(node, f"the test `{test}` with {len(args)} arguments")
        self.program.emit("int", c=self.program.number(number))
        self._all(args)
        self.program.emit("filter", count + len(args), FILTER_NUMBERS[name])

    def _name(
        self,
        node: nodes.Node,
        given: nodes.Expr,
        known: dict[str, Any],
        aliases: dict[str, str],
        what: str,
    ) -> str:
        value = getattr(given, "value", None)
        name = aliases.get(str(value), str(value))
        if not isinstance(given, nodes.Const) or name not in known:
            self.refuse(node, f"the {what} `{value}`" if value else f"a {what} named at run time")
        return name

    def visit_Test(self, node: nodes.Test) -> None:
        name = TEST_ALIASES.get(node.name, node.name)
        if name not in TESTS:
            self.refuse(node, f"the test `{node.name}`")
        self._plain_call(node)
        if node.kwargs or len(node.args) != TESTS[name]:
            self.refuse(node, f"the test `{name}` with {len(node.args)} arguments")
        self.visit(node.node)
        self._all(node.args)
        self.program.emit("test", len(node.args), TEST_NUMBERS[name])

    def _bind(self, node: nodes.Call | nodes.Filter, what: str, signature: Signature) -> int:
        """Push the arguments in the order of the signature, with its defaults."""
        named = {pair.key: pair.value for pair in node.kwargs}
        if len(node.args) > len(signature):
            self.refuse(node, f"{what} with {len(node.args)} arguments")
        for index, (name, default) in enumerate(signature):
            if index < len(node.args):
                self.visit(node.args[index])
                if name in named:
                    self.refuse(node, f"{what} with `{name}` twice")
            elif name in named:
                self.visit(named.pop(name))
            elif default is ABSENT:
                self.refuse(node, f"{what} without `{name}`")
            else:
                self.constant(default, node)
        if named:
            self.refuse(node, f"{what} with the argument `{next(iter(named))}`")
        return len(signature)

    def _all(self, items: Sequence[nodes.Expr]) -> None:
        for item in items:
            self.visit(item)
