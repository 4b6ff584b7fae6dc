"""What quantization did to a program's weights, for the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from smelt.ir.program import Program, toposort
from smelt.ir.tensor import Tensor
from smelt.passes.options import Quant
from smelt.passes.receipt import Receipt
from smelt.runtime.manifest import QuantRecipe, QuantSummary

_INTEGER_OPS = frozenset({"quantized_linear", "quantized_grouped_linear"})


def quant_summary(program: Program, quant: Quant, receipts: Sequence[Receipt]) -> QuantSummary:
    """The schemes with their counts, the matrices that stay float, and the notes of the pass."""
    roots = [root for function in program.functions.values() for root in function.roots]
    nodes = list(toposort([*roots, *program.weights.values()]))
    packed = {id(n): n for n in nodes if n.op.name == "quantize_weight"}.values()
    tensors: Counter[tuple[int, int, bool]] = Counter()
    elements: Counter[tuple[int, int, bool]] = Counter()
    inside: set[str] = set()
    for node in packed:
        scheme = (node.attr("bits"), node.attr("group"), node.attr("symmetric"))
        tensors[scheme] += 1
        elements[scheme] += _count(node.inputs[0])
        inside |= {n.attr("name") for n in toposort([node]) if n.op.name == "param"}
    # Vectors (norms, biases) are never quantized: only matrices are worth a mention.
    kept = [name for name, p in program.parameters().items() if p.type.rank > 1]
    terms = activation_terms(program, quant)
    notes = [note for receipt in receipts if receipt.step == "quantize" for note in receipt.notes]
    return QuantSummary(
        recipe=str(quant),
        weights=tuple(
            QuantRecipe(
                bits=bits, group=group, symmetric=symmetric, tensors=count, elements=elements[key]
            )
            for key, count in sorted(tensors.items())
            for bits, group, symmetric in [key]
        ),
        kept=tuple(name for name in kept if name not in inside),
        activations=("float", "int8", "int16")[terms],
        notes=tuple(dict.fromkeys(notes)),
    )


def _count(weight: Tensor) -> int:
    total = 1
    for size in weight.shape:
        assert isinstance(size, int)  # weights have no symbolic sizes
        total *= size
    return total


def activation_terms(program: Program, quant: Quant | None) -> int:
    """The int8 terms of quantized activations; 0 where products are in floats.

    A recipe may leave it to the target; a target that keeps the integer ops shows it there.
    """
    if quant is not None and quant.activations is not None:
        return quant.activations
    return max((n.attr("terms") for n in program.nodes() if n.op.name in _INTEGER_OPS), default=0)
