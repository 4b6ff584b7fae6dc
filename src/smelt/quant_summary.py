"""What quantization did to a program's weights, for the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from smelt.ir.program import Program, toposort
from smelt.ir.tensor import Tensor
from smelt.passes.fixed import is_stored_bf16
from smelt.passes.options import Quant
from smelt.passes.receipt import Receipt
from smelt.runtime.manifest import Activations, QuantRecipe, QuantSummary

_INTEGER_OPS = frozenset({"quantized_linear", "quantized_grouped_linear"})
_BF16_OPS = frozenset({"bf16_linear", "bf16_grouped_linear"})


def quant_summary(program: Program, quant: Quant, receipts: Sequence[Receipt]) -> QuantSummary:
    """The schemes with their counts, the matrices that stay float, and the notes of the pass."""
    roots = [root for function in program.functions.values() for root in function.roots]
    nodes = list(toposort([*roots, *program.weights.values()]))
    packed = {id(n): n for n in nodes if n.op.name == "quantize_weight"}.values()
    rounded = [w for w in program.weights.values() if w.op.name == "cast" and is_stored_bf16(w)]
    tensors: Counter[tuple[int, int, bool]] = Counter()
    elements: Counter[tuple[int, int, bool]] = Counter()
    inside: set[str] = set()
    for node in packed:
        scheme = (node.attr("bits"), node.attr("group"), node.attr("symmetric"))
        tensors[scheme] += 1
        elements[scheme] += _count(node.inputs[0])
        inside |= {n.attr("name") for n in toposort([node]) if n.op.name == "param"}
    for node in rounded:
        tensors[16, 0, True] += 1
        elements[16, 0, True] += _count(node)
        inside |= {n.attr("name") for n in toposort([node]) if n.op.name == "param"}
    # Vectors (norms, biases) are never quantized: only matrices are worth a mention.
    kept = [name for name, p in program.parameters().items() if p.type.rank > 1]
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
        activations=activations(program, quant),
        notes=tuple(dict.fromkeys(notes)),
    )


def _count(weight: Tensor) -> int:
    total = 1
    for size in weight.shape:
        assert isinstance(size, int)  # weights have no symbolic sizes
        total *= size
    return total


def activations(program: Program, quant: Quant | None) -> Activations:
    """What inputs of products with quantized weights become, the coarsest where they differ.

    A recipe may leave it to the target; a target that keeps the ops shows it there.
    """
    terms = 0
    is_bf16 = any(n.op.name in _BF16_OPS for n in program.nodes())
    if quant is not None and quant.activations is not None:
        terms = quant.activations
        is_bf16 = is_bf16 or (quant.scheme.is_bf16 and terms > 0)
        terms = 0 if quant.scheme.is_bf16 else terms
    else:
        found = (n.attr("terms") for n in program.nodes() if n.op.name in _INTEGER_OPS)
        terms = max(found, default=0)
    if terms == 1:
        return "int8"
    return "bf16" if is_bf16 else "int16" if terms else "float"
