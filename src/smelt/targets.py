"""The targets by name: which pipeline, which ops are kept whole, how to write, open and run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from smelt.errors import SmeltError, UnsupportedError
from smelt.ir.materialize import Weights
from smelt.ir.program import Program
from smelt.runtime.certificate import TextCheck
from smelt.runtime.engine import Engine
from smelt.runtime.manifest import Manifest

Progress = Callable[[str, int, int], None]


class Writer(Protocol):
    """Where an artifact is written before it gets its name; leaving the block publishes it."""

    path: Path

    def __enter__(self) -> Writer: ...

    def __exit__(self, *error: Any) -> None: ...

    def write(self, name: str, data: bytes) -> Any:
        """Add a file."""

    def seal(self, manifest: Manifest) -> Manifest:
        """Store the manifest."""


Emit = Callable[[Writer, Program, Weights, Manifest, Mapping[str, bytes], Progress], Manifest]


@dataclass(frozen=True)
class Target:
    """One kind of artifact; every callable imports its heavy library when it is called."""

    name: str
    dialect: str | None
    pipeline: str
    keep: Callable[[], Collection[str]]
    writer: Callable[[Path], Writer]
    emit: Emit
    open: Callable[..., Engine]
    engine_name: Callable[[], str]
    cannot_run: Callable[[], str | None] = lambda: None
    #: Compares what the artifact compiled of its text files; ParityError where it differs.
    prove_text: Callable[[Path], tuple[TextCheck, ...]] = lambda path: ()
    #: Tokens that growing state has room for unless somebody says more; None: the model's most.
    context: int | None = None

    def context_for(self, asked: int | None, program: Program) -> int | None:
        """Tokens that an artifact's state holds by default."""
        bound = program.symbols.get("past")
        if asked is not None or bound is None:
            return asked
        grows = any(slot.kind == "append" for slot in program.slots.values())
        return min(bound.high, self.context) if grows and self.context else bound.high


def _folder_writer(out: Path) -> Writer:
    from smelt.runtime.folder import FolderWriter

    return FolderWriter(out)


def _with_companions(
    writer: Writer, manifest: Manifest, files: Mapping[str, bytes], **update: Any
) -> Manifest:
    """Write the tokenizer's files and store a first manifest: the artifact can be opened."""
    for name, data in files.items():
        writer.write(name, data)
    update["tokenizer"] = tuple(files)
    return writer.seal(manifest.model_copy(update=update))


def _torch_keep() -> Collection[str]:
    from smelt.backends.torch.rows import fused

    return fused()


def _torch_emit(
    writer: Writer,
    program: Program,
    weights: Weights,
    manifest: Manifest,
    files: Mapping[str, bytes],
    progress: Progress,
) -> Manifest:
    from smelt.backends.torch.emit import emit

    done = _counter(progress, "write weights")
    size = emit(program, weights, writer.path, progress=done)
    return _with_companions(writer, manifest, files, weights_bytes=size)


def _torch_open(path: Path, **options: Any) -> Engine:
    from smelt.backends.torch.engine import open_engine

    return open_engine(path, **options)


def _torch_name() -> str:
    import torch

    return f"torch {torch.__version__}"


def _onnx(dialect: Literal["standard", "ort"]) -> Target:
    def keep() -> Collection[str]:
        from smelt.backends.onnx.table import composites

        return composites(dialect)

    def emit(
        writer: Writer,
        program: Program,
        weights: Weights,
        manifest: Manifest,
        files: Mapping[str, bytes],
        progress: Progress,
    ) -> Manifest:
        from smelt.backends.onnx.artifact import told
        from smelt.backends.onnx.emit import Options, emit

        done = _counter(progress, "write weights")
        emitted = emit(program, weights, writer.path, Options(dialect), progress=done)
        return _with_companions(writer, told(manifest, emitted), files)

    return Target(
        "onnx", dialect, f"onnx-{dialect}", keep, _folder_writer, emit, _onnx_open, _onnx_name
    )


def _onnx_open(path: Path, **options: Any) -> Engine:
    from smelt.runtime.onnx_engine import open_engine

    return open_engine(path, **options)


def _onnx_name() -> str:
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def _tensorrt_keep() -> Collection[str]:
    from smelt.backends.onnx.table import composites

    return composites("standard")


def _tensorrt_emit(
    writer: Writer,
    program: Program,
    weights: Weights,
    manifest: Manifest,
    files: Mapping[str, bytes],
    progress: Progress,
) -> Manifest:
    from smelt.backends.onnx import emit as onnx
    from smelt.backends.onnx.artifact import told
    from smelt.backends.tensorrt import emit as tensorrt

    options = tensorrt.Options(context=manifest.context)
    tensorrt.check({}, options)  # is there a library at all: asked before the long work
    graphs = writer.path / "onnx"  # in the unfinished artifact, so that a kill leaves nothing
    graphs.mkdir()
    done = _counter(progress, "write weights")
    emitted = onnx.emit(program, weights, graphs, onnx.Options("standard"), progress=done)
    progress("build engines", 0, 0)
    built = tensorrt.emit(graphs, emitted.functions, manifest.symbols, writer.path, options)
    shutil.rmtree(graphs)
    update = {
        "functions": built.functions,
        "symbols": built.symbols,
        "options": built.options,
        "requires": built.requires,
    }
    manifest = told(manifest, emitted).model_copy(update=update)
    return _with_companions(writer, manifest, files)


def _tensorrt_open(path: Path, **options: Any) -> Engine:
    from smelt.runtime.tensorrt_engine import open_engine

    return open_engine(path, **options)


def _edge_keep() -> Collection[str]:
    from smelt.backends.edge.emit import composites

    return composites()


def _edge_writer(out: Path) -> Writer:
    from smelt.runtime.artifact import ArtifactWriter

    return ArtifactWriter(out)


def _edge_emit(
    writer: Writer,
    program: Program,
    weights: Weights,
    manifest: Manifest,
    files: Mapping[str, bytes],
    progress: Progress,
) -> Manifest:
    from smelt.backends.edge.emit import Options, emit
    from smelt.runtime.artifact import ArtifactWriter
    from smelt.runtime.compiled_settings import compiled_settings

    assert isinstance(writer, ArtifactWriter)
    options = Options(manifest.context, tuple(compiled_settings(manifest.generation)))
    size = emit(program, weights, writer, options, progress=_counter(progress, "write weights"))
    compiled, refused = _compiled_text(files)
    for name, data in compiled.items():
        writer.write(name, data)
    return _with_companions(writer, manifest, files, weights_bytes=size, **refused)


def _compiled_text(files: Mapping[str, bytes]) -> tuple[dict[str, bytes], dict[str, str]]:
    """The checkpoint's tokenizer and chat templates as tables and code, and why some are not."""
    from smelt.frontend.template import compile_template
    from smelt.frontend.tokenizer import compile_tokenizer
    from smelt.runtime.artifact import TOKENIZER, template_file
    from smelt.runtime.text import Text

    if not any(name.startswith(("tokenizer.", "vocab", "spiece")) for name in files):
        return {}, {}
    try:
        text = Text.load(files)
    except SmeltError as error:
        return {}, {"tokenizer_refused": error.message}
    compiled: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    try:
        compiled[TOKENIZER] = compile_tokenizer(text.tokenizer)
    except SmeltError as error:
        refused["tokenizer_refused"] = error.message
    variables = {"tools": None, "documents": None, "add_generation_prompt": True, **text.special}
    for name in text.templates:
        try:
            template = text.template(name)
            compiled[template_file(name)] = compile_template(
                template.source, variables, join_parts=not template.reads_parts
            )
        except SmeltError as error:
            refused["template_refused"] = f"{name}: {error.place or ''}: {error.message}"
    return compiled, refused


def _edge_open(path: Path, **options: Any) -> Engine:
    from smelt.runtime.edge_engine import open_engine

    return open_engine(path, **options)


def _edge_prove_text(path: Path) -> tuple[TextCheck, ...]:
    from smelt.text_proof import prove_text

    return prove_text(path)


def _edge_name() -> str:
    from smelt.runtime.edge_engine import isa

    return f"edge runtime, {isa()}"


def _missing_gpu() -> str | None:
    from smelt.runtime.cuda import missing_gpu

    return missing_gpu()


def _counter(progress: Progress, what: str) -> Callable[[str, int], None]:
    total = 0

    def heard(name: str, size: int) -> None:
        nonlocal total
        total += size
        progress(what, total, 0)

    return heard


TARGETS: dict[tuple[str, str | None], Target] = {
    ("torch", None): Target(
        "torch", None, "torch", _torch_keep, _folder_writer, _torch_emit, _torch_open, _torch_name
    ),
    ("onnx", "standard"): _onnx("standard"),
    ("onnx", "ort"): _onnx("ort"),
    ("edge", None): Target(
        "edge",
        None,
        "edge",
        _edge_keep,
        _edge_writer,
        _edge_emit,
        _edge_open,
        _edge_name,
        prove_text=_edge_prove_text,
        context=4096,
    ),
    ("tensorrt", None): Target(
        "tensorrt",
        None,
        "tensorrt",
        _tensorrt_keep,
        _folder_writer,
        _tensorrt_emit,
        _tensorrt_open,
        lambda: "TensorRT",
        _missing_gpu,
    ),
}


def target_named(name: str, dialect: str | None) -> Target:
    """The target of that name and dialect; UnsupportedError lists those there are."""
    if name == "onnx" and dialect is None:
        dialect = "ort"
    found = TARGETS.get((name, dialect))
    if found is None:
        known = ", ".join(n if d is None else f"{n} (dialect {d})" for n, d in TARGETS)
        asked = name if dialect is None else f"{name} (dialect {dialect})"
        raise UnsupportedError(f"no target `{asked}`", hint=f"targets: {known}")
    return found
