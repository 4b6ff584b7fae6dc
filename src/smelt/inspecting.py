"""`smelt inspect`: what an artifact is, in text or as data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from smelt.errors import ArtifactError, SmeltError
from smelt.folding import fold_graph
from smelt.ir.printer import print_program
from smelt.ir.program import Program
from smelt.passes.receipt import Receipt
from smelt.runtime.certificate import Certificate, TextCheck
from smelt.runtime.manifest import FunctionSpec, Manifest, StateSpec
from smelt.runtime.shapes import describe, size_of

REPORT = "report.json"


def report(program: Program, receipts: Sequence[Receipt]) -> bytes:
    """What compile leaves in an artifact for ``inspect``: the folded graph and the receipts."""
    steps = [{**r.as_dict(), "explain": r.explain().splitlines()[1:]} for r in receipts]
    data = {"graph": fold_graph(print_program(program)), "steps": steps}
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()


def read_report(path: Path) -> dict[str, Any]:
    """The report of an artifact, empty where there is none."""
    from smelt.runtime.folder import open_folder

    if path.is_file():
        from smelt.runtime.artifact import open_artifact

        try:
            data = open_artifact(path).read(REPORT)
        except ArtifactError:
            return {}
    else:
        folder = open_folder(path)
        known = any(entry.path == REPORT for entry in folder.manifest.files)
        data = folder.read(REPORT) if known else b"{}"
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ArtifactError(f"holds a {type(found).__name__}, wants an object", place=REPORT)
    return found


def overview(manifest: Manifest, size: int) -> str:
    """Everything but the graph, one fact a line."""
    return "\n".join(_overview(manifest, size)) + "\n"


def _overview(m: Manifest, size: int) -> Iterator[str]:
    target = m.target if m.dialect is None else f"{m.target} ({m.dialect})"
    yield f"{m.model_type} {m.task} for {target}, by smelt {m.smelt}"
    origin = f"{m.source.name} {m.source.architecture}".strip()
    yield f"source       {origin}, {m.source.parameters:,} parameters"
    yield f"             fingerprint {m.source.fingerprint[:16]}…"
    yield f"size         {human(size)}, weights {human(m.weights_bytes)}"
    if m.context is not None:
        yield f"context      {m.context} tokens"
    for function in m.functions:
        yield from _function(function)
    yield from _state(m)
    if m.quant is not None:
        yield f"quantized    {m.quant.recipe}, activations {m.quant.activations}"
        for recipe in m.quant.weights:
            kind = "symmetric" if recipe.symmetric else "asymmetric"
            form = f"int{recipe.bits} group {recipe.group} {kind}" if recipe.group else "bf16"
            yield f"             {form}: {recipe.tensors} tensors, {recipe.elements:,} values"
        if m.quant.kept:
            yield f"             kept in float: {', '.join(fold_names(m.quant.kept))}"
        yield from (f"             note: {note}" for note in m.quant.notes)
    if m.generation.eos_token_ids or m.task.endswith("lm"):
        yield f"generation   {_generation(m)}"
    if m.requires:
        yield f"requires     {', '.join(m.requires)}"
    for key, value in m.options.items():
        yield f"option       {key} = {value[:200]}"
    for note in m.notes:
        yield f"note         {note}"
    for entry in m.files:
        yield f"file         {entry.path}  {human(entry.bytes)}  {entry.sha256[:12]}…"
    yield from _certificate(m.certificate)


def _function(function: FunctionSpec) -> Iterator[str]:
    inputs = ", ".join(f"{spec.name}: {describe(spec)}" for spec in function.inputs)
    yield f"function     {function.name}({inputs})"
    outputs = ", ".join(f"{spec.name}: {describe(spec)}" for spec in function.outputs)
    yield f"             → {outputs}"


def _state(m: Manifest) -> Iterator[str]:
    groups: dict[tuple[Any, ...], list[StateSpec]] = {}
    for slot in m.state:
        key = (slot.kind, slot.dtype, slot.shape, slot.layout, slot.window)
        groups.setdefault(key, []).append(slot)
    for slots in groups.values():
        slot = slots[0]
        names = ", ".join(fold_names([s.name for s in slots]))
        shape = ", ".join(map(str, slot.shape))
        window = "" if slot.window is None else f", window {slot.window}"
        yield f"state        {names}"
        yield f"             {slot.kind} {slot.dtype}[{shape}], {slot.layout}{window}"
    if not any(slot.kind == "append" for slot in m.state):
        return
    capacity = m.kv.capacity if m.kv is not None else m.context
    yield f"memory       state {human(state_bytes(m, 1))} for the first token of a row" + (
        "" if capacity is None else f", {human(state_bytes(m, capacity))} for {capacity} tokens"
    )


def state_bytes(m: Manifest, tokens: int) -> int:
    """Bytes of the append slots for one row of so many tokens."""
    sizes = {"f64": 8, "f32": 4, "i32": 4, "i64": 8, "f16": 2, "bf16": 2}
    total = 0
    for slot in m.state:
        if slot.kind != "append":
            continue
        kept = tokens if slot.window is None else min(tokens, slot.window)
        count = sizes.get(slot.dtype, 1)
        for dim in slot.shape:
            count *= size_of(dim, {"batch": 1, "past": kept})
        total += count
    return total


def _generation(m: Manifest) -> str:
    g = m.generation
    how = "greedy" if not g.do_sample else f"temperature {g.temperature}"
    parts = [how, f"eos {list(g.eos_token_ids)}"]
    for name in ("top_k", "top_p", "min_p"):
        if g.do_sample and getattr(g, name) is not None:
            parts.append(f"{name} {getattr(g, name)}")
    if g.repetition_penalty != 1.0:
        parts.append(f"repetition penalty {g.repetition_penalty}")
    parts += [f"{name} {value}" for name, value in g.settings.items()]
    if g.unsupported:
        parts.append(f"lacks {', '.join(g.unsupported)}")
    return ", ".join(parts)


def _certificate(c: Certificate | None) -> Iterator[str]:
    yield f"certificate  {verdict(c)}"
    if c is not None:
        yield from (f"             {text_line(check)}" for check in c.text)
    if c is None or c.status == "not_run":
        return
    yield f"             reference: {c.reference}; engine: {c.engine}"
    for inputs in c.inputs:
        yield (
            f"             inputs: seed {inputs.seed}, prefill {inputs.prefill} tokens, "
            f"{inputs.decode_steps} decode steps, {inputs.text or 'random ids'}"
        )
    for bound in c.tolerances:
        yield f"             tolerance {bound.value:g} ({bound.name}): {bound.derived}"
    if c.steps is not None:
        yield (
            f"             on the artifact's own inputs: {c.steps.followed} of {c.steps.tensors} "
            f"tensors met, worst error {c.steps.max_error:.1e} of its channel; outputs and caches "
            "above only inform"
        )
        if c.steps.bf16_attention is not None:
            worst = c.steps.bf16_attention
            yield (
                "             attention by bf16 products: "
                f"worst error {worst.max_error:.1e} of {worst.tolerance:.1e}"
            )
    if c.distribution is not None:
        d = c.distribution
        yield (
            f"             against fp32 over {d.tokens} tokens: KL {d.kl_mean:.4f} nats "
            f"(worst {d.kl_max:.3f}), same top token {d.top1_agreement:.1%}, "
            f"perplexity {d.perplexity:.3f} ({d.perplexity_difference:+.2%})"
        )


def text_line(check: TextCheck) -> str:
    """What was compared of a compiled tokenizer or chat template."""
    if check.not_compiled:
        return f"{check.part}: not compiled: {check.not_compiled}"
    count = f"{check.compared} {'strings' if check.sequences else 'conversations'}"
    rest = {"refused by both": check.refused, "refused when compiled": check.unsupported}
    more = "".join(f", {number} {what}" for what, number in rest.items() if number)
    return f"{check.part}: {count}, {check.differences} differences from {check.library}{more}"


def verdict(c: Certificate | None) -> str:
    """One phrase for tables."""
    if c is None:
        return "none"
    if c.status == "not_run":
        return f"not run: {c.reason}"
    if c.divergence is not None:
        return f"failed at {c.divergence.layer}"
    checks = len(c.outputs) + len(c.slots)
    return f"{c.status}, {checks} checks, worst error {c.worst:.1e} of the largest value"


def explain(found: Mapping[str, Any], step: str | None) -> str:
    """The receipts: one line a step, or everything about one step or pattern."""
    steps = found.get("steps") or []
    if step is None:
        return "".join(
            f"{s['step']:22s} {s['nodes'][0]:6d} → {s['nodes'][1]:<6d}  "
            + ", ".join(f"{name} ×{n}" for name, n in s["fired"].items())
            + "\n"
            for s in steps
        )
    chosen = []
    for receipt in steps:
        lines = receipt["explain"]
        if receipt["step"] == step:
            chosen += [f"{step}:", *lines]
        else:
            about = [line for line in lines if line.strip().startswith(f"{step} ")]
            chosen += [f"{receipt['step']}:", *about] if about else []
    if not chosen:
        names = sorted({s["step"] for s in steps} | {n for s in steps for n in s["fired"]})
        raise SmeltError(
            f"no step or pattern `{step}` in this compile", hint=f"there are: {', '.join(names)}"
        )
    return "\n".join(chosen) + "\n"


def fold_names(names: Sequence[str]) -> list[str]:
    """Names that differ in one number, once: `layers.*.key ×30`."""
    import re

    counts: dict[str, int] = {}
    for name in names:
        key = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name)
        counts[key] = counts.get(key, 0) + 1
    return [key if n == 1 else f"{key} ×{n}" for key, n in counts.items()]


def human(size: float) -> str:
    """`128.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError
