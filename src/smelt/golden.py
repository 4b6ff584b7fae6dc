"""What an artifact keeps of the reference, so that `smelt verify` needs nothing but the artifact.

`golden.safetensors` holds the inputs of every call of the probe, and sketches of what the reference
gave: outputs of each call, and the state at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from smelt.errors import ArtifactError, ParityError
from smelt.probe import Probe
from smelt.runtime.engine import Engine
from smelt.runtime.manifest import Manifest
from smelt.sketch import sketch
from smelt.trace import first_fault
from smelt.verify import Expected, newest

Array = np.ndarray[Any, Any]

GOLDEN = "golden.safetensors"


def pack(probe: Probe, meaning: Expected, windows: Mapping[str, int | None]) -> bytes:
    """The file's bytes; the same probe and reference give the same bytes."""
    from safetensors.numpy import save

    kept: dict[str, Array] = {}
    for index, call in enumerate(probe.steps):
        for name, array in call.inputs.items():
            kept[f"{index:04}.{call.function}.input.{name}"] = np.ascontiguousarray(array)
        whole = meaning.outputs[call.function]
        length = probe.prefill if not call.step else 1
        for name, array in whole.items():
            covers = array.ndim >= 3 and array.shape[1] == probe.prefill + probe.decode
            part = array[:, call.start : call.start + length] if covers else array
            kept[f"{index:04}.{call.function}.output.{name}"] = sketch(part)
    for slot, array in meaning.state.items():
        kept[f"state.{slot}"] = sketch(newest(array, windows.get(slot)))
    for number, (place, known) in enumerate(meaning.places.items()):
        kept[f"place.{number:05}.{place}"] = known
    data: bytes = save(kept)
    return data


def recheck(
    engine: Engine, manifest: Manifest, stored: bytes, progress: Callable[[str], None] = print
) -> float:
    """Run the artifact on the stored inputs; the largest error over its scale.

    ParityError names the first place where a sketch differs by more than the certificate allows.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    certificate = manifest.certificate
    if certificate is None or not certificate.tolerances:
        raise ArtifactError(
            "artifact has no certificate", hint="compile it again without --no-verify"
        )
    tolerance = certificate.tolerances[0].value
    try:
        kept = load(stored)
    except SafetensorError as error:
        raise ArtifactError(f"cannot read: {error}", place=GOLDEN) from None
    calls: dict[str, dict[str, dict[str, Array]]] = {}
    for name, array in kept.items():
        if not name.startswith(("state.", "place.")):
            index, function, kind, port = name.split(".", 3)
            calls.setdefault(f"{index}.{function}", {}).setdefault(kind, {})[port] = array
    engine.reset()
    found: dict[str, Array] = {}
    for key in sorted(calls):
        progress(f"checking {key}")
        outputs = engine.call(key.split(".", 1)[1], calls[key]["input"])
        found |= {f"{key}.output.{name}": sketch(array) for name, array in outputs.items()}
    windows = {slot.name: slot.window for slot in manifest.state}
    for slot, array in engine.read_state().items():
        found[f"state.{slot}"] = sketch(newest(array, windows.get(slot)))
    engine.reset()
    places = [f"state.{slot.name}" for slot in manifest.state]
    places += [name for name in sorted(kept) if ".output." in name]
    try:
        return max(
            (_compare(p, found, kept[p], tolerance) for p in places if p in kept), default=0.0
        )
    except ParityError as error:
        first = min(calls)
        known = {n.split(".", 2)[2]: a for n, a in sorted(kept.items()) if n.startswith("place.")}
        function = first.split(".", 1)[1]
        fault = first_fault(engine, function, calls[first]["input"], known, tolerance)
        error.place = fault or error.place
        raise


def _compare(place: str, found: Mapping[str, Array], wanted: Array, tolerance: float) -> float:
    scale = float(np.abs(wanted).max(initial=0.0)) or 1e-30
    actual = found.get(place)
    if actual is None or actual.shape != wanted.shape:
        shape = None if actual is None else actual.shape
        raise ParityError(f"sketch has shape {shape}, stored is {wanted.shape}", place=place)
    error = float(np.abs(actual - wanted).max(initial=0.0))
    if not error <= tolerance * scale:
        raise ParityError(
            f"artifact differs from its reference by {error:.3g} where values reach {scale:.3g}",
            place=place.removeprefix("state."),
            hint="the artifact is damaged or its runtime is at fault; compile it again",
        )
    return error / scale
