"""Statements of templates: their variables live where jinja2's own analysis puts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import nodes
from jinja2.compiler import find_undeclared
from jinja2.idtracking import (
    VAR_LOAD_ALIAS,
    VAR_LOAD_RESOLVE,
    VAR_LOAD_UNDEFINED,
    Symbols,
)

from smelt.frontend.template.expressions import Expressions, Scope
from smelt.frontend.template.program import Macro, Program


class Statements(Expressions):
    """Emits the code of statements, which leave the stack as they find it."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._loops: list[tuple[int, list[int]] | None] = []  # None: a border no loop is left over

    def template(self, node: nodes.Template) -> None:
        """Emit a whole template."""
        self._enter(node)
        self.body(node.body)
        self.program.emit("end")

    def body(self, items: Sequence[nodes.Node]) -> None:
        """Emit statements in order."""
        for item in items:
            self.visit(item)

    def _enter(self, node: nodes.Node, loop: bool = False, **options: Any) -> None:
        """Open the scope of a node, with a slot for each of its identifiers."""
        self._open(node, loop, **options)
        self._begin()

    def _open(self, node: nodes.Node, loop: bool = False, **options: Any) -> None:
        is_root = isinstance(node, nodes.Template)
        symbols = Symbols(None if is_root else self.scope.symbols)
        if loop:
            symbols.declare_parameter("loop")
        symbols.analyze_node(node, **options)
        self.scope = Scope(symbols, None if is_root else self.scope)
        for name, identifier in symbols.refs.items():
            self.scope.slots[identifier] = self.program.slot(name)

    def _begin(self) -> None:
        """What the variables of a scope hold when it is entered."""
        for identifier, (action, source) in self.scope.symbols.loads.items():
            slot = self.scope.slot(identifier)
            if action == VAR_LOAD_RESOLVE:
                self.program.emit("resolve", c=slot)
            elif action == VAR_LOAD_ALIAS:
                assert self.scope.outer is not None
                self.program.emit("copy", b=self.scope.outer.slot(source), c=slot)
            elif action == VAR_LOAD_UNDEFINED:
                self.program.emit("clear", c=slot)

    def _leave(self) -> None:
        assert self.scope.outer is not None
        self.scope = self.scope.outer

    def visit_Output(self, node: nodes.Output) -> None:
        for part in node.nodes:
            if isinstance(part, nodes.TemplateData):
                self.program.emit("text", c=self.program.string(part.data))
                continue
            self.visit(part)
            self.program.line = part.lineno
            self.program.emit("write")

    def visit_If(self, node: nodes.If) -> None:
        ends = []
        for branch in (node, *node.elif_):
            self.visit(branch.test)
            to_next = self.program.emit("jump_false")
            self.body(branch.body)
            ends.append(self.program.emit("jump"))
            self.program.aim(to_next)
        self.body(node.else_)
        self.program.aim(*ends)

    def visit_Assign(self, node: nodes.Assign) -> None:
        self.visit(node.node)
        self.store(node.target)

    def store(self, target: nodes.Node) -> None:
        """Take the value on the stack into a target."""
        if isinstance(target, nodes.Name):
            self.program.emit("store", c=self.slot_of(target.name))
        elif isinstance(target, nodes.NSRef):
            self.program.emit("load", c=self.slot_of(target.name))
            self.program.emit("set_attr", c=self.program.string(target.attr))
        elif isinstance(target, nodes.Tuple) and len(target.items) < 256:
            self.program.emit("unpack", len(target.items))
            for item in target.items:
                self.store(item)
        else:
            self.refuse(target, f"`{type(target).__name__}` as the target of an assignment")

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> None:
        self._enter(node)
        self._captured(node.body)
        self._leave()
        if node.filter is not None:
            self._filters(node.filter)
        self.store(node.target)

    def visit_FilterBlock(self, node: nodes.FilterBlock) -> None:
        self._enter(node)
        self._captured(node.body)
        self._filters(node.filter)
        self._leave()
        self.program.emit("write")

    def _filters(self, node: nodes.Filter) -> None:
        """Filters over the captured text, from the innermost."""
        if isinstance(node.node, nodes.Filter):
            self._filters(node.node)
        elif node.node is not None:
            self.refuse(node, "a filter over a block")
        self._filter(node, None)

    def _captured(self, body: Sequence[nodes.Node]) -> None:
        self.program.emit("capture")
        self._loops.append(None)
        self.body(body)
        self._loops.pop()
        self.program.emit("captured")

    def visit_CallBlock(self, node: nodes.CallBlock) -> None:
        call = node.call.node
        if not isinstance(call, nodes.ExtensionAttribute):
            self.refuse(node, "`{% call %}`")
        self._enter(node)
        self._loops.append(None)
        self.body(node.body)
        self._loops.pop()
        self._leave()

    def visit_With(self, node: nodes.With) -> None:
        outer = self.scope
        self._enter(node)
        inner = self.scope
        for target, value in zip(node.targets, node.values, strict=True):
            self.scope = outer
            self.visit(value)
            self.scope = inner
            self.store(target)
        self.body(node.body)
        self._leave()

    def visit_ExprStmt(self, node: nodes.ExprStmt) -> None:
        self.visit(node.node)
        self.program.emit("pop")

    # ---- loops ----

    def visit_For(self, node: nodes.For) -> None:
        if node.recursive and "loop" in find_undeclared([*node.body], ("loop",)):
            self.refuse(node, "a recursive loop")
        has_loop = "loop" in find_undeclared([*node.iter_child_nodes(only=("body",))], ("loop",))
        if any(n.ctx == "store" and n.name == "loop" for n in node.find_all(nodes.Name)):
            self.refuse(node, "`loop` as a variable of its own")
        never = self.program.slot("loop") if node.else_ else None
        if never is not None:
            self.special("true")
            self.program.emit("store", c=never)
        lazy = node.test if node.test is not None and not has_loop else None
        if node.test is not None and has_loop:
            self._kept(node, node.test)
        else:
            self.visit(node.iter)
        self._open(node, loop=has_loop, for_branch="body")
        body = self.scope
        loop_slot = body.slots[body.symbols.refs["loop"]] + 1 if has_loop else 0
        self.program.emit("for", c=loop_slot)
        start = self.program.emit("next")
        if lazy is not None:
            self.program.emit("dup")
            self.scope = body.outer or body
            self._tested(node, lazy)
            passed = self.program.emit("jump_false")
            # The value stays on the stack for the targets of the body.
            taken = self.program.emit("jump")
            self.program.aim(passed)
            self.program.emit("pop")
            self.program.emit("jump", c=start)
            self.program.aim(taken)
            self.scope = body
        self.store(node.target)
        self._begin()
        breaks: list[int] = []
        self._loops.append((start, breaks))
        self.body(node.body)
        self._loops.pop()
        self._leave()
        if never is not None:
            self.special("false")
            self.program.emit("store", c=never)
        self.program.emit("jump", c=start)
        self.program.aim(start, *breaks)
        if never is not None:
            self.program.emit("load", c=never)
            to_end = self.program.emit("jump_false")
            self._enter(node, for_branch="else")
            self.body(node.else_)
            self._leave()
            self.program.aim(to_end)

    def _tested(self, node: nodes.For, test: nodes.Node) -> None:
        """Take the item on the stack into the names of the test, and leave the test's value."""
        self._open(node, for_branch="test")
        self.store(node.target)
        self._begin()
        self.visit(test)
        self._leave()

    def _kept(self, node: nodes.For, test: nodes.Node) -> None:
        """A list of the items that pass the test: what a loop that counts goes over."""
        changed = {ref.name for ref in node.find_all(nodes.NSRef)}
        if any(name.name in changed for name in test.find_all(nodes.Name)):
            self.refuse(node, "a loop whose condition depends on what its body changes")
        self.program.emit("list")
        self.visit(node.iter)
        self.program.emit("for")
        start = self.program.emit("next")
        self.program.emit("dup")
        self._tested(node, test)
        self.program.emit("keep")
        self.program.emit("jump", c=start)
        self.program.aim(start)

    def visit_Break(self, node: nodes.Node) -> None:
        self._loop(node)[1].append(self.program.emit("break"))

    def visit_Continue(self, node: nodes.Node) -> None:
        self.program.emit("jump", c=self._loop(node)[0])

    def _loop(self, node: nodes.Node) -> tuple[int, list[int]]:
        loop = self._loops[-1] if self._loops else None
        if loop is None:
            self.refuse(node, f"`{type(node).__name__.lower()}` outside of its loop's body")
        return loop

    # ---- macros ----

    def visit_Macro(self, node: nodes.Macro) -> None:
        used = find_undeclared(node.body, ("caller", "kwargs", "varargs"))
        if used:
            self.refuse(node, f"`{min(used)}` in a macro")
        macro = Macro(self.program.string(node.name), first_slot=len(self.program.slots))
        self.program.macros.append(macro)
        self.program.emit("macro", c=len(self.program.macros) - 1)
        self.program.emit("store", c=self.slot_of(node.name))
        around = self.program.emit("jump")
        macro.entry = self.program.here
        self._enter(node)
        macro.args = [self.slot_of(arg.name) for arg in node.args]
        self._defaults(node, macro)
        self._loops.append(None)
        self.body(node.body)
        self._loops.pop()
        self._leave()
        self.program.emit("return")
        macro.slots = len(self.program.slots) - macro.first_slot
        self.program.aim(around)

    def _defaults(self, node: nodes.Macro, macro: Macro) -> None:
        for index, (arg, slot) in enumerate(zip(node.args, macro.args, strict=True)):
            at = index - len(node.args) + len(node.defaults)
            if at < 0:
                continue  # a missing one is undefined
            self.program.emit("load", a=1, c=slot)
            given = self.program.emit("jump_false")
            self.visit(node.defaults[at])
            self.program.emit("store", c=self.slot_of(arg.name))
            self.program.aim(given)
