"""The driver: checkpoint in, verified artifact out. Imports everything; nothing imports it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from smelt.describe import companions, describe
from smelt.errors import UnsupportedError
from smelt.following import Follower, Trace
from smelt.freed_memory import give_back
from smelt.frontend.build import build
from smelt.frontend.checkpoint import Checkpoint, open_checkpoint
from smelt.frontend.hidden import layers_of
from smelt.golden import GOLDEN, pack
from smelt.inspecting import REPORT, report
from smelt.ir.materialize import Weights
from smelt.ir.program import Program
from smelt.ir.types import DType
from smelt.kept_weights import KeptWeights
from smelt.passes.options import Options, parse_kv, parse_quant
from smelt.passes.pipeline import run
from smelt.passes.receipt import Receipt
from smelt.probe import TEXT, Probe, make_probe
from smelt.quant_summary import activations, quant_summary
from smelt.runtime.certificate import Certificate
from smelt.runtime.manifest import HiddenStates, Manifest
from smelt.runtime.text import Text
from smelt.targets import Target, target_named
from smelt.verify import (
    REFERENCE,
    Expected,
    Followed,
    certify,
    expected,
    require,
    run_steps,
    tolerance_of,
)

#: Hears what is happening, how much of it is done, and how much there is (0 where unknown).
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Request:
    """Everything that decides what an artifact is."""

    source: str
    target: str
    out: Path
    dialect: str | None = None
    quant: str | None = None
    kv: str | None = None
    task: str | None = None
    context: int | None = None
    hidden: str | None = None
    spec: Path | None = None
    dtype: str = "f32"
    revision: str | None = None
    offline: bool = False
    verify: bool = True
    dump_ir: Path | None = None


@dataclass(frozen=True)
class Compiled:
    """What a compile made: where, its manifest, and the receipts of the passes."""

    path: Path
    manifest: Manifest
    receipts: tuple[Receipt, ...]


def compile(
    source: str | Path,
    *,
    target: str,
    out: str | Path,
    progress: Progress = lambda what, done, total: None,
    **options: Any,
) -> Compiled:
    """Compile a checkpoint (directory, GGUF file or Hub id) into an artifact at ``out``.

    options: the other fields of ``Request``: dialect ("standard" or "ort", onnx only), quant
    ("int4,group=32", "bf16"), kv ("f32", "f16", "bf16", "int8"), task, context (tokens), hidden
    ("last" or "all": hidden states beside the logits), spec (a spec file),
    dtype ("f32", "bf16", "f16"; torch only), revision, offline, verify, dump_ir (a directory).
    Raises a SmeltError; nothing is then written.
    """
    request = Request(str(source), target, Path(out), **_paths(options))
    chosen = target_named(request.target, request.dialect)
    checkpoint = open_checkpoint(request.source, revision=request.revision, offline=request.offline)
    shapes = {name: info.shape for name, info in checkpoint.tensors.items()}
    spec = request.spec or _own_spec(checkpoint)
    original = build(
        checkpoint.config,
        task=request.task,
        spec=spec,
        shapes=shapes,
        dtype=_dtype(request.dtype, chosen),
        context=request.context,
        hidden=request.hidden,
    )
    progress("optimize", 0, 0)
    settings = Options(
        quant=parse_quant(request.quant) if request.quant else None,
        kv=parse_kv(request.kv) if request.kv else None,
        context=request.context,
    )
    optimized, receipts = run(
        original, chosen.pipeline, settings, keep=chosen.keep(), dump=request.dump_ir
    )
    manifest = describe(
        checkpoint,
        optimized,
        target=chosen.name,
        dialect=chosen.dialect,
        context=chosen.context_for(request.context, optimized),
    )
    if (told := layers_of(original)) is not None:
        states = HiddenStates(layers=told[0], tied=told[1])
        manifest = manifest.model_copy(update={"hidden": states})
    if settings.quant is not None:
        summary = quant_summary(optimized, settings.quant, receipts)
        manifest = manifest.model_copy(update={"quant": summary})
    with chosen.writer(request.out) as writer, TemporaryDirectory(prefix="smelt-") as kept:
        # Quantizing takes long, and both the artifact and its proof need the codes.
        weights = (
            KeptWeights(optimized, checkpoint.read, Path(kept))
            if settings.quant is not None
            else Weights(optimized, checkpoint.read)
        )
        job = _Job(
            request, settings, chosen, checkpoint, original, optimized, weights, manifest, progress
        )
        writer.write(REPORT, report(optimized, receipts))
        sealed = chosen.emit(writer, optimized, weights, manifest, companions(checkpoint), progress)
        if request.verify:
            progress("compare tokenizer and chat template", 0, 0)
            text = chosen.prove_text(writer.path)
            give_back()
            certificate, golden = job.verify(writer.path)
            certificate = certificate.model_copy(update={"text": text})
            sealed = sealed.model_copy(update={"certificate": certificate})
            writer.write(GOLDEN, golden)
        else:
            skipped = Certificate(
                status="not_run", reason="verification was turned off", reference="none"
            )
            sealed = sealed.model_copy(update={"certificate": skipped})
        sealed = writer.seal(sealed)
    return Compiled(request.out, sealed, receipts)


@dataclass(frozen=True)
class _Job:
    """One compile, as far as verification needs to know it."""

    request: Request
    settings: Options
    target: Target
    checkpoint: Checkpoint
    original: Program
    optimized: Program
    weights: Weights
    manifest: Manifest
    progress: Progress

    def verify(self, path: Path) -> tuple[Certificate, bytes]:
        """Run the artifact at a path; its certificate and the golden file. ParityError if it
        fails."""
        reason = self.target.cannot_run()
        passage = self._passage()
        probe = make_probe(
            self.original,
            vocabulary=min(_said(self.checkpoint.config, "vocab_size"), default=1),
            pads=_said(self.checkpoint.config, "pad_token_id"),
            types=int(self.checkpoint.config.get("type_vocab_size") or 1),
            tokens=passage,
            limit=self.manifest.context,
        )
        windows = {slot.name: slot.window for slot in self.optimized.slots.values()}
        is_quantized = self.settings.quant is not None
        # The artifact first, and closed again: it and the references never take memory together.
        ran, trace = None, None
        if reason is None:
            engine = self.target.open(path)
            ran = run_steps(engine, probe, self._tell)
            if self._rounding() in ("int8", "bf16_inputs") and self.target.name == "edge":
                trace = Trace(engine, probe)
            del engine
        give_back()
        original = self._expected(
            self.original, Weights(self.original, self.checkpoint.read), probe
        )
        self.checkpoint.rest()
        give_back()
        meaning = self._expected(self.optimized, self.weights, probe) if is_quantized else original
        followed = None if trace is None else self._followed(trace, probe)
        golden = pack(probe, meaning if followed is None else followed.meaning, windows)
        if ran is None:
            assert reason is not None
            # `smelt verify` completes it on a machine that can run the artifact.
            pending = Certificate(
                status="not_run",
                reason=reason,
                reference=REFERENCE,
                tolerances=(tolerance_of(self._rounding()),),
            )
            return pending, golden
        certificate = certify(
            ran,
            probe,
            meaning,
            reopen=lambda: self.target.open(path),
            windows=windows,
            original=original if is_quantized else None,
            rounding=self._rounding(),
            bits=self._bits(),
            text="the passage in smelt.probe" if passage else None,
            name=self.target.engine_name(),
            followed=followed,
        )
        require(certificate)
        return certificate, golden

    def _expected(self, program: Program, weights: Weights, probe: Probe) -> Expected:
        return expected(program, weights, probe, self._tell)

    def _followed(self, trace: Trace, probe: Probe) -> Followed:
        """The meaning again, on the artifact's own tensors."""
        follower = Follower(trace)
        meaning = expected(self.optimized, self.weights, probe, self._tell, follower)
        trace.close()
        return Followed(meaning, follower)

    def _tell(self, what: str) -> None:
        self.progress(what, 0, 0)

    def _passage(self) -> Sequence[int]:
        """The probe's passage in the checkpoint's tokens; none for a model without text."""
        files = companions(self.checkpoint)
        has_tokenizer = any(name.startswith(("tokenizer.", "vocab", "spiece")) for name in files)
        is_text = has_tokenizer and "input_ids" in self._inputs()
        # Only the ids stay: a tokenizer takes tens of megabytes.
        return Text.load(files).encode(TEXT) if is_text else ()

    def _inputs(self) -> set[str]:
        return {t.attr("name") for f in self.original.functions.values() for t in f.inputs}

    def _bits(self) -> int | None:
        return None if self.settings.quant is None else self.settings.quant.scheme.bits

    def _rounding(self) -> str:
        """The coarsest rounding that the artifact does while it runs."""
        kinds = [self.request.dtype, *(s.dtype.value for s in self.optimized.slots.values())]
        inputs = activations(self.optimized, self.settings.quant)
        if "i8" in kinds or inputs == "int8":
            return "int8"
        if inputs == "bf16":
            return "bf16_inputs"
        found = next((kind for kind in ("bf16", "f16") if kind in kinds), "f32")
        return found if found != "f32" or inputs == "float" else inputs


def _paths(options: Mapping[str, Any]) -> dict[str, Any]:
    unknown = options.keys() - {*Request.__dataclass_fields__} - {"source", "target", "out"}
    if unknown:
        known = ", ".join(sorted(set(Request.__dataclass_fields__) - {"source", "target", "out"}))
        raise UnsupportedError(f"unknown option `{sorted(unknown)[0]}`", hint=f"options: {known}")
    paths = {k: Path(options[k]) for k in ("spec", "dump_ir") if options.get(k) is not None}
    return {**options, **paths}


def _dtype(name: str, target: Target) -> DType:
    known = {"f32": DType.F32, "bf16": DType.BF16, "f16": DType.F16}
    if name not in known:
        raise UnsupportedError(f"dtype `{name}` is not one of {', '.join(known)}")
    if name != "f32" and target.name != "torch":
        raise UnsupportedError(
            f"dtype {name} is for the torch target, not {target.name}",
            hint="use --quant bf16, int8 or int4, and --kv, to make other targets smaller",
        )
    return known[name]


def _own_spec(checkpoint: Checkpoint) -> Path | None:
    """A spec that lies beside the checkpoint."""
    path = checkpoint.directory / "smelt.arch"
    return path if path.is_file() else None


def _said(config: Mapping[str, Any], key: str) -> list[int]:
    """The number that config.json gives a key, or those that the configs of its parts do."""
    own = config.get(key)
    if isinstance(own, int):
        return [int(own)]
    parts = (_said(part, key) for part in config.values() if isinstance(part, Mapping))
    return [number for found in parts for number in found]
