"""The parity certificate: an artifact is run and compared with the reference, or it is refused.

Two references. The *meaning* is the artifact's own program, quantization included, with every op
computed as its definition says in fp32; an artifact must match it closely. The *original* is the
unquantized model; a quantized artifact is measured against it (divergence, agreement, perplexity).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from smelt.errors import ParityError
from smelt.following import BF16, SAME, Follower
from smelt.ir.materialize import Weights
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor
from smelt.probe import SEED, Call, Probe, pair
from smelt.runtime.certificate import (
    Certificate,
    Distribution,
    FollowedSteps,
    Inputs,
    LayerDivergence,
    OutputCheck,
    SlotCheck,
    StepError,
    Tolerance,
)
from smelt.runtime.engine import Engine
from smelt.sketch import sketch
from smelt.trace import Places, first_fault

Array = np.ndarray[Any, Any]
Progress = Callable[[str], None]

#: Allowed error over the largest absolute value, by what rounds in the artifact, with the reason.
TOLERANCES = {
    "f32": (1e-4, "sums of up to 10^4 f32 terms in another order: 10^4 · 2^-24, rounded down"),
    "f16": (2e-2, "values kept in f16 (2^-11) through some tens of layers, about 40 · 2^-11"),
    "bf16": (1e-1, "values kept in bf16 (2^-8) through some tens of layers, about 25 · 2^-8"),
    "int8": (
        5e-2,
        "another order of f32 sums moves an activation over a rounding border now and then: "
        "one code is 1/127 of its group, met by a few groups at once",
    ),
    "bf16_inputs": (
        2e-2,
        "as int8, but an input moves by one step of bf16: 2^-8 of itself, not 1/127 of its group",
    ),
    "int16": (
        1e-3,
        "as int8, but an activation's second term moves by one code: 1/127 of 1/127 of its group",
    ),
    "followed": (
        1e-3,
        "each step on the artifact's own inputs, rounded to the same codes: f32 sums in another "
        "order, 1e-4, and a value that this moves over a border of f16, 2^-11",
    ),
}

#: What every certificate compares with.
REFERENCE = "fp32 eager, unoptimized graph"

#: Most nats that quantization may cost on average, by its bits.
KL_LIMITS = {16: 0.05, 8: 0.05, 4: 1.0}


@dataclass(frozen=True)
class Expected:
    """What the reference gives for a probe: outputs by whole call, and the state at the end.

    places: for a model without state, sketches of each place of the first call; see `trace`.
    """

    outputs: Mapping[str, Mapping[str, Array]]
    state: Mapping[str, Array]
    places: Mapping[str, Array]


def expected(
    program: Program,
    weights: Weights,
    probe: Probe,
    progress: Progress = lambda what: None,
    follower: Follower | None = None,
) -> Expected:
    """Run the reference over a probe; weights are read one at a time and let go.

    follower: takes the reference on with the tensors of an artifact.
    """
    import torch

    from smelt.backends.torch.reference import reference_module
    from smelt.backends.torch.state import State

    module = reference_module(program, weights, is_resident=False)
    state = State(program)
    outputs: dict[str, dict[str, Array]] = {}
    places = Places()
    listens = not program.slots
    for call in probe.steps if probe.is_divided else probe.whole:
        progress(f"reference {call.function}")
        if follower is not None:
            follower.begin(call.function)
        module.listener = _listener(places if listens else None, follower)
        tensors = {name: torch.from_numpy(np.array(a)) for name, a in call.inputs.items()}
        with torch.inference_mode():
            found = module(call.function, state, **tensors)
        known = outputs.setdefault(call.function, {})
        for name, tensor in found.items():
            known[name] = _joined(known.get(name), tensor.float().numpy())
        module.listener, listens = None, False
    held = {n: t.float().numpy() for n, t in state.tensors().items()}
    return Expected(outputs, held, places.sketches)


def _listener(places: Places | None, follower: Follower | None) -> Callable[[Tensor, Any], Any]:
    """Both hear what the reference computed; only the second answers."""

    def hear(node: Tensor, tensor: Any) -> Any:
        if places is not None:
            places.hear(node.source, tensor)
        return None if follower is None else follower.hear(node, tensor)

    return hear


def _joined(before: Array | None, array: Array) -> Array:
    """What calls one after the other give, as one call would."""
    return array if before is None or array.ndim < 3 else np.concatenate([before, array], 1)


@dataclass(frozen=True)
class Ran:
    """What an artifact gives for a probe: outputs of each step, and its state at the end."""

    results: Sequence[tuple[Call, dict[str, Array]]]
    state: Mapping[str, Array]


def run_steps(engine: Engine, probe: Probe, progress: Progress = lambda what: None) -> Ran:
    """Run an artifact over a probe, a step at a time."""
    engine.reset()
    results = []
    for call in probe.steps:
        progress(f"artifact {call.function} {call.step}/{probe.decode}")
        results.append((call, engine.call(call.function, call.inputs)))
    state = engine.read_state()
    engine.reset()
    return Ran(results, state)


@dataclass(frozen=True)
class Followed:
    """What the meaning gives when it goes on with the artifact's own tensors, and how that went."""

    meaning: Expected
    follower: Follower


def certify(
    ran: Ran,
    probe: Probe,
    meaning: Expected,
    *,
    reopen: Callable[[], Engine],
    windows: Mapping[str, int | None],
    original: Expected | None = None,
    rounding: str = "f32",
    bits: int | None = None,
    text: str | None = None,
    name: str = "",
    followed: Followed | None = None,
) -> Certificate:
    """Compare what an artifact gave with its references.

    reopen: opens the artifact again, to find where a fault is. windows: how many newest entries of
    each slot matter. rounding: a key of ``TOLERANCES``, the coarsest rounding that the artifact
    does. original and bits: for a quantized artifact. followed: decides in the meaning's place,
    and the distance from that is only told. The certificate may say "failed"; see ``require``.
    """
    tolerance = tolerance_of(rounding if followed is None else "followed")
    near = meaning if followed is None else followed.meaning
    checks, slots = _checks(ran, probe, near, tolerance.value, windows)
    logits: list[tuple[Array, Array]] = []
    for call, outputs in ran.results:
        of_text = _ids(call) is not None and "logits" in outputs and outputs["logits"].ndim == 3
        if original is not None and of_text:
            pairs = pair(outputs, call, original.outputs[call.function])
            logits += [(a, w) for n, a, w in pairs if n == "logits"]
    distribution = _distribution(logits, probe, bits) if logits and bits else None
    passed = all(c.passed for c in checks) and all(s.passed for s in slots)
    passed = passed and (distribution is None or distribution.passed)
    divergence = _divergence(
        checks,
        slots,
        lambda: first_fault(
            reopen(),
            probe.steps[0].function,
            probe.steps[0].inputs,
            near.places,
            tolerance.value if followed is None else followed.follower.allowed,
        ),
    )
    tolerances: tuple[Tolerance, ...] = (tolerance,)
    if followed is not None:
        free = _checks(ran, probe, meaning, tolerance.value, windows)
        checks = [_told(c, now.passed) for c, now in zip(free[0], checks, strict=True)]
        slots = [_told(c, now.passed) for c, now in zip(free[1], slots, strict=True)]
        tolerances = (_drift(ran, meaning, windows, rounding), tolerance)
    return Certificate(
        status="passed" if passed else "failed",
        reference=REFERENCE + (" with the same codes" if bits else ""),
        engine=name,
        inputs=(Inputs(seed=SEED, prefill=probe.prefill, decode_steps=probe.decode, text=text),),
        tolerances=tolerances,
        outputs=tuple(checks),
        slots=tuple(slots),
        distribution=distribution,
        steps=None if followed is None else _steps(followed.follower),
        divergence=divergence,
    )


def _checks(
    ran: Ran,
    probe: Probe,
    meaning: Expected,
    tolerance: float,
    windows: Mapping[str, int | None],
) -> tuple[list[OutputCheck], list[SlotCheck]]:
    """Every output of every step, and every slot at the end."""
    outputs = [
        _output(call, output, actual, wanted, tolerance)
        for call, given in ran.results
        for output, actual, wanted in pair(given, call, meaning.outputs[call.function])
    ]
    slots = [
        _slot(slot, probe.decode, ran.state.get(slot), wanted, tolerance, windows.get(slot))
        for slot, wanted in meaning.state.items()
    ]
    return outputs, slots


Check = TypeVar("Check", OutputCheck, SlotCheck)


def _told(check: Check, passed: bool) -> Check:
    """A check that informs: without a tolerance, and passed as the followed reference decided."""
    return check.model_copy(update={"tolerance": None, "passed": passed, "first_bad": None})


def _drift(
    ran: Ran, meaning: Expected, windows: Mapping[str, int | None], rounding: str
) -> Tolerance:
    """How far sketches of a run elsewhere, where f32 sums have another order, may part from the
    meaning's: this run is one sample of that.
    """
    value, why = TOLERANCES[rounding]
    pairs = [
        (actual, wanted)
        for call, given in ran.results
        for _, actual, wanted in pair(given, call, meaning.outputs[call.function])
    ]
    pairs += [
        (newest(ran.state[slot], windows.get(slot)), newest(wanted, windows.get(slot)))
        for slot, wanted in meaning.state.items()
        if slot in ran.state
    ]
    found = (_distance(sketch(actual), sketch(wanted)) for actual, wanted in pairs)
    worst = max((error / scale for error, scale in found), default=0.0)
    return Tolerance(
        name=f"{rounding} drift",
        value=max(value, 2 * worst),
        derived=f"{why}; and sketches of a run elsewhere part from the meaning's as this run's, "
        f"{worst:.2g}, or twice as far",
    )


def _steps(follower: Follower) -> FollowedSteps:
    return FollowedSteps(
        tensors=follower.tensors,
        followed=follower.followed,
        **_worst(follower, SAME),
        bf16_attention=StepError(**_worst(follower, BF16)) if BF16 in follower.worst else None,
    )


def _worst(follower: Follower, allowed: float) -> dict[str, Any]:
    error, place = follower.worst.get(allowed, (0.0, ""))
    return {"max_error": error, "place": place, "tolerance": allowed}


def tolerance_of(rounding: str) -> Tolerance:
    """The tolerance for a key of ``TOLERANCES``."""
    value, why = TOLERANCES[rounding]
    return Tolerance(name=rounding, value=value, derived=why)


def require(certificate: Certificate) -> None:
    """ParityError naming the first layer that diverges, unless the certificate passed."""
    if certificate.passed:
        return
    found = certificate.divergence
    if found is None and certificate.distribution is not None:
        d = certificate.distribution
        raise ParityError(
            f"quantization costs {d.kl_mean:.3f} nats on average, more than is allowed",
            hint="use a smaller group, int8, or keep lm_head and the embedding in int8",
        )
    assert found is not None
    raise ParityError(
        f"artifact differs from the reference by {found.max_abs_error:.3g} where values reach "
        f"{found.max_abs_value:.3g}",
        place=found.layer,
        hint="the artifact was not written; please report this with the model's config.json",
    )


def _output(call: Call, name: str, actual: Array, wanted: Array, tolerance: float) -> OutputCheck:
    error, scale = _distance(actual, wanted)
    return OutputCheck(
        function=call.function,
        output=name,
        step=call.step,
        max_abs_error=error,
        max_abs_value=scale,
        tolerance=tolerance * scale,
        passed=error <= tolerance * scale,
    )


def _slot(
    name: str,
    step: int,
    actual: Array | None,
    wanted: Array,
    tolerance: float,
    window: int | None,
) -> SlotCheck:
    wanted = newest(wanted, window)
    actual = np.zeros(0) if actual is None else newest(actual, window)
    error, scale = _distance(actual, wanted)
    first = None
    if error > tolerance * scale and actual.shape == wanted.shape and actual.ndim == 4:
        bad = np.abs(actual - wanted).max(axis=(0, 1, 3)) > tolerance * scale
        first = int(bad.argmax())
    return SlotCheck(
        slot=name,
        step=step,
        max_abs_error=error,
        max_abs_value=scale,
        tolerance=tolerance * scale,
        first_bad=first,
        passed=error <= tolerance * scale,
    )


def newest(array: Array, window: int | None) -> Array:
    """The newest ``window`` entries of a cache [batch, heads, entries, dim]; a ring may keep no
    more."""
    return array if window is None or array.ndim != 4 else array[:, :, -window:]


def _distance(actual: Array, wanted: Array) -> tuple[float, float]:
    """The largest error and the scale; a wrong shape or a NaN counts as an error of the scale and
    more."""
    scale = float(np.abs(wanted).max(initial=0.0)) or 1e-30
    if actual.shape != wanted.shape:
        return 1e30, scale
    error = float(np.abs(actual.astype(np.float32) - wanted).max(initial=0.0))
    return (error if np.isfinite(error) else 1e30), scale


def _divergence(
    checks: list[OutputCheck], slots: list[SlotCheck], find: Callable[[], str | None]
) -> LayerDivergence | None:
    """Slots come in the order of the layers, so the first bad one is the place; without any, the
    tensors of a call tell; else the output."""
    for slot in slots:
        if not slot.passed:
            place = slot.slot
            if slot.first_bad is not None:
                place += f" at position {slot.first_bad}"
            return LayerDivergence(
                layer=place, max_abs_error=slot.max_abs_error, max_abs_value=slot.max_abs_value
            )
    for check in checks:
        if not check.passed:
            place = f"{check.function} output {check.output} at step {check.step}"
            if slots:
                place += f", after {slots[-1].slot.rpartition('.')[0]}"
            elif (found := find()) is not None:
                place = found
            return LayerDivergence(
                layer=place, max_abs_error=check.max_abs_error, max_abs_value=check.max_abs_value
            )
    return None


def _ids(call: Call) -> Array | None:
    """The tokens that a call reads; none where it reads states."""
    return call.inputs.get("input_ids", call.inputs.get("decoder_input_ids"))


def _distribution(logits: list[tuple[Array, Array]], probe: Probe, bits: int) -> Distribution:
    ids = [found for call in probe.whole if (found := _ids(call)) is not None][-1]
    following = np.asarray(ids)[0, 1:]
    kl: list[float] = []
    agree: list[bool] = []
    scores: list[tuple[float, float]] = []
    # A token at a time: a vocabulary of f64 for every token would be most of a compile's memory.
    for a, w in ((x[0, i], y[0, i]) for x, y in logits for i in range(x.shape[1])):
        actual, wanted = _log_softmax(a), _log_softmax(w)
        if len(kl) < len(following):
            token = following[len(kl)]
            scores.append((actual[token], wanted[token]))
        kl.append(float((np.exp(wanted) * (wanted - actual)).sum()))
        agree.append(bool(actual.argmax() == wanted.argmax()))
    ppl, ppl_reference = (float(np.exp(-np.mean(column))) for column in zip(*scores, strict=True))
    return Distribution(
        tokens=len(kl),
        kl_mean=float(np.mean(kl)),
        kl_max=max(kl),
        top1_agreement=float(np.mean(agree)),
        perplexity_reference=ppl_reference,
        perplexity=ppl,
        perplexity_difference=(ppl - ppl_reference) / ppl_reference,
        passed=bool(np.mean(kl) <= KL_LIMITS[bits]),
    )


def _log_softmax(x: Array) -> Array:
    wide = x.astype(np.float64)
    wide -= wide.max()
    result: Array = wide - np.log(np.exp(wide).sum())
    return result
