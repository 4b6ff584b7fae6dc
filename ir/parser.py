"""The text form of programs, read back: the inverse of `smelt.ir.printer`.

Nodes are rebuilt through their ops, so type rules run again and a printed type that does not follow
from its operands is refused.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from smelt.errors import SmeltError
from smelt.ir.dims import parse_size
from smelt.ir.ops import OPS
from smelt.ir.program import Bound, Function, Program, Slot
from smelt.ir.tensor import Tensor, new_program, source
from smelt.ir.types import DType, parse_type

_SYMBOL = re.compile(r"symbol (\w+) (\d+)\.\.(\d+)")
_SLOT = re.compile(
    r'slot "([^"]*)" (append|replace) axis=(-?\d+)(?: window=(\d+))? layout=(\w+) as=(\w+) : (.+)'
)
_FUNC = re.compile(r"func (\w+)\((.*)\) \{")
_NODE = re.compile(r"%(\d+) = (\w+)\(([^)]*)\)(?: \{(.*)\})? : ([^@]+?)(?:  @ (.*))?")
_ROOT = re.compile(r'(return|write|yield) ?(?:"([^"]*)"|(\w*)) = %(\d+)')


def parse_program(text: str) -> Program:
    """The program whose text this is; SmeltError with the line of the first fault."""
    with new_program():
        return _program(text)


def _program(text: str) -> Program:
    lines = text.splitlines()
    head = lines[0].split() if lines else []
    if len(head) != 3 or head[0] != "program":
        raise SmeltError("text does not begin with `program MODEL_TYPE TASK`", place="line 1")
    symbols: dict[str, Bound] = {}
    slots: dict[str, Slot] = {}
    weights: dict[str, Tensor] = {}
    functions: dict[str, Function] = {}
    number = 1
    while number < len(lines):
        line = lines[number]
        number += 1
        with _at(number):
            if not line:
                continue
            if match := _SYMBOL.fullmatch(line):
                symbols[match[1]] = Bound(int(match[2]), int(match[3]))
            elif match := _SLOT.fullmatch(line):
                slots[match[1]] = _slot(match)
            elif line.startswith(('weight "', "func ")):
                body, number = _block(lines, number)
                roots = _body(body, number - len(body) - 1)
                if line.startswith("weight"):
                    weights[line.split('"')[1]] = roots[0][2]
                else:
                    function = _function(line, roots)
                    functions[function.name] = function
            else:
                raise SmeltError(f"`{line[:60]}` is neither symbol, slot, weight nor func")
    return Program(head[1], head[2], functions, slots, symbols, weights)


class _at:
    """Give errors from inside the line's number as their place."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SmeltError) and not (error.place or "").startswith("line"):
            raise SmeltError(error.message, place=f"line {self.number}", hint=error.hint) from None
        if isinstance(error, (ValueError, KeyError, IndexError, TypeError, SyntaxError)):
            raise SmeltError(f"cannot read: {error}", place=f"line {self.number}") from None


def _slot(match: re.Match[str]) -> Slot:
    window = None if match[4] is None else int(match[4])
    kind = parse_type(match[7])
    return Slot(match[1], match[2], kind, int(match[3]), window, match[5], DType(match[6]))


def _block(lines: list[str], start: int) -> tuple[list[str], int]:
    end = start
    while end < len(lines) and lines[end] != "}":
        end += 1
    if end == len(lines):
        raise SmeltError("block has no closing `}`")
    return lines[start:end], end + 1


def _function(line: str, roots: list[tuple[str, str, Tensor]]) -> Function:
    match = _FUNC.fullmatch(line)
    if match is None:
        raise SmeltError(f"`{line[:60]}` is not a function's head")
    inputs = []
    for part in re.split(r", (?=\w+: )", match[2]) if match[2] else []:
        name, kind = part.split(": ", 1)
        inputs.append(OPS["input"](name=name, type=parse_type(kind)))
    outputs = tuple((name, t) for kind, name, t in roots if kind == "return")
    writes = tuple((name, t) for kind, name, t in roots if kind == "write")
    return Function(match[1], tuple(inputs), outputs, writes)


def _body(lines: list[str], first: int) -> list[tuple[str, str, Tensor]]:
    nodes: dict[int, Tensor] = {}
    roots: list[tuple[str, str, Tensor]] = []
    for number, line in enumerate(lines, first + 1):
        with _at(number):
            if match := _ROOT.fullmatch(line.strip()):
                roots.append((match[1], match[2] or match[3] or "", nodes[int(match[4])]))
            elif match := _NODE.fullmatch(line.strip()):
                nodes[int(match[1])] = _node(match, nodes)
            else:
                raise SmeltError(f"`{line.strip()[:60]}` is not a node")
    return roots


def _node(match: re.Match[str], nodes: dict[int, Tensor]) -> Tensor:
    op = OPS.get(match[2])
    if op is None:
        raise SmeltError(f"no op is named `{match[2]}`")
    names = [name for name in match[3].split(", ") if name]
    operands = tuple(None if name == "_" else nodes[int(name[1:])] for name in names)
    attrs = parse_attributes(match[4] or "")
    if set(attrs) != set(op.attr_names):
        raise SmeltError(
            f"{op.name} has attributes {sorted(op.attr_names)}, text has {sorted(attrs)}"
        )
    with source(match[6] or ""):
        node = op.node(operands, {name: attrs[name] for name in op.attr_names})
    if str(node.result) != match[5]:
        raise SmeltError(f"{op.name} gives {node.result}, the text says {match[5]}")
    return node


_SPECIAL = re.compile(r"<(size|dtype|type) ([^>]+)>")


def parse_attributes(text: str) -> dict[str, Any]:
    """The attributes printed as ``name=value, …``; values are literals, never evaluated."""
    found: list[Any] = []

    def keep(match: re.Match[str]) -> str:
        readers: dict[str, Any] = {"size": parse_size, "dtype": DType, "type": parse_type}
        found.append(readers[match[1]](match[2]))
        return f"special({len(found) - 1})"

    # Strings may hold anything, so only text outside quotes is searched for `<…>`.
    parts = re.split(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", text)
    parts[::2] = [_SPECIAL.sub(keep, part) for part in parts[::2]]
    call = ast.parse(f"f({''.join(parts)})", mode="eval").body
    assert isinstance(call, ast.Call)
    return {k.arg or "": _value(k.value, found) for k in call.keywords}


def _value(node: ast.expr, found: list[Any]) -> Any:
    match node:
        case ast.Tuple(elts=items):
            return tuple(_value(item, found) for item in items)
        case ast.Call(func=ast.Name(id="special"), args=[ast.Constant(value=int() as index)]):
            return found[index]
        case ast.Name(id="inf"):
            return float("inf")
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id="inf")):
            return float("-inf")
    value = ast.literal_eval(node)
    if not isinstance(value, (int, float, str, bool, type(None))):
        raise SmeltError(f"attribute {ast.unparse(node)[:40]} is not a plain value")
    return value
