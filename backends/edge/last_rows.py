"""Logits of the last positions only: whoever generates reads one row of a whole prompt.

The runtime gets a symbol ``last``: how many rows at the end the caller asks for. The slice stands
below everything that works on single rows, so the product with the vocabulary, the largest matrix
of many models, is computed for these rows alone, and its result takes memory for these alone.
"""

from __future__ import annotations

from dataclasses import replace

from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.program import Bound, Function, Program
from smelt.ir.rewrite import rebuild
from smelt.ir.tensor import Tensor

LAST = "last"

_TASKS = frozenset(("causal_lm", "seq2seq_lm", "speech_seq2seq"))
#: Ops whose first operand is the only one with rows, and that never mix them.
_BY_ROWS = frozenset(
    ("linear", "bf16_linear", "quantized_linear", "rms_norm", "layer_norm", "cast")
)
#: Ops of which one operand has rows, and the others are numbers or vectors over the last axis.
_BY_ELEMENTS = frozenset(
    ("add", "sub", "mul", "div", "tanh", "softcap", "neg", "linear_activation")
)
_LINEARS = frozenset(("linear", "bf16_linear", "quantized_linear"))


def keep_last(program: Program) -> Program:
    """The program with logits for its last rows, as many as are asked for."""
    if program.task not in _TASKS or "seq" not in program.symbols:
        return program
    functions = {name: _kept(f) for name, f in program.functions.items()}
    if all(functions[name] is f for name, f in program.functions.items()):
        return program
    symbols = {**program.symbols, LAST: Bound(1, program.symbols["seq"].high)}
    return replace(program, functions=functions, symbols=symbols)


def _kept(function: Function) -> Function:
    roots = []
    for name, root in function.outputs:
        is_rows = name == "logits" and root.type.rank == 3 and root.shape[1] == symbol("seq")
        roots.append(_cut(root) or root if is_rows else root)
    if all(new is old for new, (_, old) in zip(roots, function.outputs, strict=True)):
        return function
    return function.with_roots((*roots, *(root for _, root in function.writes)))


def _cut(root: Tensor) -> Tensor | None:
    """The rows at the end of a tensor, cut as early as possible; None without a product above."""
    chain: list[tuple[Tensor, int]] = []  # from the root down: a node and its operand with rows
    node = root
    while (index := _rows_operand(node)) is not None:
        chain.append((node, index))
        operand = node.operands[index]
        assert operand is not None
        node = operand
    products = [i for i, (above, _) in enumerate(chain) if above.op.name in _LINEARS]
    if not products:
        return None
    chain = chain[: products[-1] + 1]  # below the lowest product nothing is gained
    above, index = chain[-1]
    lowest = above.operands[index]
    assert lowest is not None
    found: Tensor = ops.slice(lowest, 1, symbol("seq") - symbol(LAST), symbol("seq"))
    for above, index in reversed(chain):
        operands = (*above.operands[:index], found, *above.operands[index + 1 :])
        found = rebuild(above, operands)
    return found


def _rows_operand(node: Tensor) -> int | None:
    """Which operand has the rows of a node that works on each by itself."""
    if node.op.name in _BY_ROWS:
        return 0 if _has_rows(node.operands[0], node) else None
    if node.op.name not in _BY_ELEMENTS:
        return None
    rows = [i for i, t in enumerate(node.operands) if _has_rows(t, node)]
    others = [t for i, t in enumerate(node.operands) if t is not None and i not in rows]
    return rows[0] if len(rows) == 1 and all(t.type.rank < 2 for t in others) else None


def _has_rows(operand: Tensor | None, node: Tensor) -> bool:
    return operand is not None and operand.type.rank == 3 and operand.shape[:2] == node.shape[:2]
