"""The evaluator: walks a spec's syntax tree and builds IR. Nothing is executed as Python.

Names resolve late: a function of a parent that calls ``norm`` gets the child's ``norm`` when the
child defines one. ``at="name"`` on any call extends the weight path inside it.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smelt.errors import SmeltError, SpecError
from smelt.frontend.config import Config
from smelt.frontend.layers.registry import LAYERS
from smelt.frontend.scope import Scope
from smelt.frontend.spec.syntax import Definition, Source
from smelt.ir.dims import Dim, Size, symbol
from smelt.ir.op import OPS
from smelt.ir.tensor import Tensor

MAX_CALLS = 100_000
MAX_DEPTH = 40
MAX_LENGTH = 10_000
MAX_NUMBER = 2**62
MAX_RANK = 16
#: Symbols in a size, all of its terms together.
MAX_SYMBOLS = 64

#: Ops that only the compiler may place.
_INTERNAL = frozenset({"input", "param", "weight", "item", "cache", "read", "quantize_weight"})

#: Sizes that every spec may name.
_SYMBOLS = ("batch", "seq", "past", "source", "choices", "future")

#: What an op's name means when every argument is a plain number.
_NUMERIC: dict[str, Callable[..., Any]] = {
    "sqrt": math.sqrt,
    "log": math.log,
    "exp": math.exp,
    "floor": math.floor,
    "ceil": math.ceil,
    "abs": abs,
    "max": max,
    "min": min,
    "len": len,
}

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


@dataclass(frozen=True)
class Function:
    """A function of a spec as a value."""

    name: str
    node: ast.FunctionDef
    source: Source

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(a.arg for a in self.node.args.args)


@dataclass(frozen=True)
class _Frame:
    source: Source
    names: dict[str, Any]


class Evaluator:
    """Evaluates one spec against a config, building into a scope."""

    def __init__(
        self,
        definitions: Mapping[str, Definition],
        config: Config,
        scope: Scope,
        sizes: Mapping[str, Size] | None = None,
    ) -> None:
        self.definitions = definitions
        #: What the names of symbolic sizes stand for, where not for themselves.
        self.sizes = sizes or {}
        #: Where this spec's weights are.
        self._root = scope.path
        self.config = config
        self.scope = scope
        self._values: dict[str, Any] = {}
        self._pending: list[str] = []
        self._calls = 0
        self._depth = 0

    def entry(self, name: str) -> Any:
        """Call a function of the spec without arguments, with fresh top-level values."""
        self._values = {}
        definition = self.definitions[name]
        function = self._value_of(definition)
        if not isinstance(function, Function):
            raise definition.source.error(definition.node, f"`{name}` is not a function")
        try:
            return self.call(function, (), {})
        except RecursionError:
            raise _too_deep(definition) from None

    def value(self, name: str, default: Any = None) -> Any:
        """The value of a top-level name, or the default when the spec does not define it."""
        definition = self.definitions.get(name)
        if definition is None:
            return default
        try:
            return self._value_of(definition)
        except RecursionError:
            raise _too_deep(definition) from None

    def part(self, entry: str, inner: Evaluator) -> Any:
        """Call a function of the spec of a part of this model; it counts as a call of this one."""
        function = inner.value(entry)
        if not isinstance(function, Function):
            kind = inner.config.get("model_type")
            raise SpecError(f"the spec of {kind} has no function `{entry}`")
        inner._calls, inner._depth = self._calls, self._depth
        try:
            return inner.call(function, (), {})
        finally:
            self._calls = inner._calls

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a value that a spec passed around; layers such as ``repeat`` use this."""
        if not isinstance(function, Function):
            raise SpecError(f"{type(function).__name__} is not a function of the spec")
        if self._depth >= MAX_DEPTH:
            raise SpecError(f"calls nest more than {MAX_DEPTH} deep", place=function.source.name)
        self._count()
        names = self._bind(function, args, dict(kwargs))
        self._depth += 1
        try:
            return self._body(function, names)
        finally:
            self._depth -= 1

    def _count(self) -> None:
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise SpecError(f"more than {MAX_CALLS} calls")

    def _bind(
        self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        parameters = function.parameters
        if len(args) > len(parameters):
            raise SpecError(
                f"`{function.name}` takes {len(parameters)} arguments, gets {len(args)}"
            )
        names = dict(zip(parameters, args, strict=False))
        for name, value in kwargs.items():
            if name not in parameters or name in names:
                raise SpecError(f"`{function.name}` has no free parameter `{name}`")
            names[name] = value
        defaults = function.node.args.defaults
        frame = _Frame(function.source, {})
        for name, node in zip(parameters[len(parameters) - len(defaults) :], defaults, strict=True):
            if name not in names:
                names[name] = self._eval(node, frame)
        missing = [name for name in parameters if name not in names]
        if missing:
            raise SpecError(f"`{function.name}` gets no value for `{missing[0]}`")
        return names

    def _body(self, function: Function, names: dict[str, Any]) -> Any:
        frame = _Frame(function.source, names)
        for statement in function.node.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    names[name] = self._eval(value, frame)
                case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
                    parts = self._eval(value, frame)
                    if not isinstance(parts, tuple) or len(parts) != len(targets):
                        count = len(parts) if isinstance(parts, tuple) else 1
                        raise frame.source.error(
                            statement, f"{count} values for {len(targets)} names"
                        )
                    names.update((t.id, p) for t, p in zip(targets, parts, strict=True))  # type: ignore[attr-defined]
                case ast.Return(value=ast.expr() as value):
                    return self._eval(value, frame)
        raise frame.source.error(function.node, f"`{function.name}` does not return")

    def _value_of(self, definition: Definition) -> Any:
        if isinstance(definition.node, ast.FunctionDef):
            return Function(definition.name, definition.node, definition.source)
        if definition.name not in self._values:
            if definition.name in self._pending:
                circle = " → ".join((*self._pending, definition.name))
                raise definition.source.error(
                    definition.node, f"definitions go in a circle: {circle}"
                )
            self._pending.append(definition.name)
            path, self.scope.path = self.scope.path, self._root
            try:
                value = self._eval(definition.node, _Frame(definition.source, {}))
            finally:
                self._pending.pop()
                self.scope.path = path
            self._values[definition.name] = value
        return self._values[definition.name]

    def _eval(self, node: ast.expr, frame: _Frame) -> Any:
        try:
            return self._visit(node, frame)
        except SmeltError as error:
            if error.place is not None:
                raise
            placed = frame.source.error(node, error.message, error.hint)
            kind = type(error) if type(error) is not SmeltError else SpecError
            raise kind(
                placed.message, place=placed.place, excerpt=placed.excerpt, hint=placed.hint
            ) from None
        except (TypeError, ValueError, ZeroDivisionError, OverflowError, AttributeError) as error:
            raise frame.source.error(node, str(error), "is a key missing in config.json?") from None

    def _visit(self, node: ast.expr, frame: _Frame) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self._name(name, frame)
            case ast.Attribute(value=value, attr=key):
                config = self._eval(value, frame)
                if not isinstance(config, Config):
                    raise SpecError(f"`{ast.unparse(value)}` has no keys; it is {config!r}")
                return config.get(key)
            case ast.Tuple(elts=items):
                return tuple(self._eval(item, frame) for item in items)
            case ast.IfExp(test=test, body=body, orelse=other):
                return self._eval(body if self._truth(test, frame) else other, frame)
            case ast.BoolOp(op=op, values=values):
                return self._bool(isinstance(op, ast.Or), values, frame)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self._truth(operand, frame)
            case ast.UnaryOp(operand=operand):
                return -self._eval(operand, frame)
            case ast.BinOp(left=left, op=op, right=right):
                return _binary(op, self._eval(left, frame), self._eval(right, frame))
            case ast.Compare(left=left, ops=operators, comparators=rights):
                return self._compare(left, operators, rights, frame)
            case ast.Subscript(value=value, slice=index):
                return self._index(self._eval(value, frame), self._eval(index, frame))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                given = tuple(self._eval(a, frame) for a in args)
                named = {k.arg or "": self._eval(k.value, frame) for k in keywords}
                return self._invoke(name, given, named, frame)
        raise SpecError(f"{type(node).__name__} is not part of the language")

    def _truth(self, node: ast.expr, frame: _Frame) -> bool:
        value = self._eval(node, frame)
        if isinstance(value, (Tensor, Dim)):
            raise SpecError("a tensor has no truth value", hint="use where(condition, a, b)")
        return bool(value)

    def _bool(self, is_or: bool, values: list[ast.expr], frame: _Frame) -> Any:
        result: Any = None
        for value in values:
            result = self._eval(value, frame)
            # A tensor or a function counts as present, so `norm or other` reads naturally.
            truth = True if isinstance(result, (Tensor, Dim, Function, Config)) else bool(result)
            if truth == is_or:
                return result
        return result

    def _compare(
        self, left: ast.expr, operators: list[ast.cmpop], rights: list[ast.expr], frame: _Frame
    ) -> bool:
        a = self._eval(left, frame)
        for op, right in zip(operators, rights, strict=True):
            b = self._eval(right, frame)
            is_tensor = isinstance(a, Tensor) or isinstance(b, Tensor)
            if is_tensor and a is not None and b is not None:
                raise SpecError("tensors are compared with less, less_equal or equal")
            if not _COMPARE[type(op)](a, b):
                return False
            a = b
        return True

    def _index(self, value: Any, index: Any) -> Any:
        if isinstance(value, Config) and isinstance(index, str):
            return value.get(index)
        if not isinstance(value, tuple) or not isinstance(index, int):
            raise SpecError(f"cannot index {type(value).__name__} with {index!r}")
        if not -len(value) <= index < len(value):
            raise SpecError(f"index {index} is outside {len(value)} values")
        return value[index]

    def _name(self, name: str, frame: _Frame) -> Any:
        if name in frame.names:
            return frame.names[name]
        if name in self.definitions:
            return self._value_of(self.definitions[name])
        tensor = self.scope.input(name)
        if tensor is not None:
            return tensor
        if name == "config":
            return self.config
        if name in _SYMBOLS:
            return self.sizes.get(name, symbol(name))
        known = [*frame.names, *self.definitions, *self.scope.inputs]
        near = difflib.get_close_matches(name, known, 1)
        hint = (
            f"did you mean `{near[0]}`?" if near else f"inputs here: {', '.join(self.scope.inputs)}"
        )
        raise SpecError(f"unknown name `{name}`", hint=hint)

    def _invoke(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], frame: _Frame
    ) -> Any:
        self._count()
        for value in (*args, *kwargs.values()):
            if isinstance(value, tuple) and len(value) > MAX_RANK and _has_size(value):
                raise SpecError(f"a shape of {len(value)} sizes, at most {MAX_RANK}")
        function = frame.names.get(name)
        if function is None and name in self.definitions:
            function = self._value_of(self.definitions[name])
        if function is not None:
            with self.scope.at(_path(kwargs)):
                return self.call(function, args, kwargs)
        if name in _NUMERIC and not any(isinstance(a, (Tensor, Dim)) for a in args):
            return _NUMERIC[name](*args, **kwargs)
        if name in LAYERS:
            with self.scope.at(_path(kwargs)):
                return LAYERS[name](self, *args, **kwargs)
        if name in OPS and name not in _INTERNAL:
            return OPS[name](*args, **kwargs)
        known = [*self.definitions, *LAYERS, *(OPS.keys() - _INTERNAL)]
        near = difflib.get_close_matches(name, known, 1)
        hint = (
            f"did you mean `{near[0]}`?"
            if near
            else "see docs/spec-language.md for what can be called"
        )
        raise SpecError(f"unknown function `{name}`", hint=hint)


def _path(kwargs: dict[str, Any]) -> str:
    at = kwargs.pop("at", "")
    if not isinstance(at, str):
        raise SpecError(f"at is {at!r}, wants a name")
    return at


def _too_deep(definition: Definition) -> SpecError:
    return definition.source.error(definition.node, f"`{definition.name}` nests too deep")


def _has_size(values: tuple[Any, ...]) -> bool:
    return any(isinstance(value, Dim) for value in values)


def _binary(op: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(left, (str, tuple)) or isinstance(right, (str, tuple)):
        if not isinstance(op, ast.Add) or type(left) is not type(right):
            raise SpecError(
                f"cannot combine {type(left).__name__} and {type(right).__name__} here",
                hint="strings and tuples only join, with +",
            )
        if len(left) + len(right) > MAX_LENGTH:
            raise SpecError(f"result is longer than {MAX_LENGTH}")
        return left + right
    for value in (left, right):
        if value is None or isinstance(value, (Function, Config)):
            kind = "None (a missing config key?)" if value is None else type(value).__name__
            raise SpecError(f"cannot compute with {kind}")
    is_power = isinstance(op, ast.Pow) and isinstance(left, int) and isinstance(right, int)
    if is_power and (right < 0 or right * max(left.bit_length(), 1) > 62):
        raise SpecError(f"{left} ** {right} is too large", hint="use a float: 2.0 ** n")
    result = _BINARY[type(op)](left, right)
    if isinstance(result, int) and abs(result) > MAX_NUMBER:
        raise SpecError("number is too large")
    if isinstance(result, Dim) and _is_large(result):
        raise SpecError(f"size has more than {MAX_SYMBOLS} symbols, or a number that is too large")
    return result


def _is_large(size: Dim) -> bool:
    symbols = sum(1 + len(monomial) for monomial, _ in size.terms)
    return symbols > MAX_SYMBOLS or any(abs(count) > MAX_NUMBER for _, count in size.terms)
