"""What an artifact says about itself: `manifest.json` in a folder, the same in `model.smelt`.

Everything here comes out of a file that may be hostile, so every field is bounded and unknown
fields are refused. The record holds no timestamp and no machine path: same input, same bytes.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from smelt.errors import ArtifactError
from smelt.runtime.certificate import Certificate

FORMAT_VERSION: Final = 1
MAX_MANIFEST_BYTES = 64 << 20

DType = Literal[
    "f32", "f16", "bf16", "f64", "i64", "i32", "i16", "i8", "u8", "u16", "u32", "u64", "bool"
]
Name = Annotated[str, Field(min_length=1, max_length=512)]
Dim = Annotated[int, Field(ge=0, lt=2**48)] | Name
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]
TokenIds = tuple[Annotated[int, Field(ge=0, lt=2**31)], ...]


class Record(BaseModel):
    """A frozen record that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class TensorSpec(Record):
    """An input or output; a dim is an int, a symbol's name, or an expression (`past + seq`)."""

    name: Name
    dtype: DType
    shape: tuple[Dim, ...] = Field(max_length=16)


class StateSpec(Record):
    """A state slot; an `append` slot is [batch, heads, length, dim] and grows along axis 2."""

    name: Name
    kind: Literal["append", "replace"]
    dtype: DType
    shape: tuple[Dim, ...] = Field(max_length=16)
    layout: Literal["full", "ring"] = "full"
    window: Count | None = None
    scale_group: Count | None = None
    """Values that share a scale, for int8 slots."""


class FunctionSpec(Record):
    """One callable graph; ``reads`` and ``writes`` name state slots."""

    name: Name
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    reads: tuple[Name, ...] = ()
    writes: tuple[Name, ...] = ()
    file: Name | None = None
    """The graph's file in a folder artifact."""


class Symbol(Record):
    """A symbolic dim with inclusive bounds; no ``max`` means unbounded."""

    name: Name
    min: Count = 0
    max: Count | None = None


class QuantRecipe(Record):
    """One scheme and how many weights use it."""

    bits: Annotated[int, Field(ge=1, le=16)]
    group: Count
    symmetric: bool
    scale_dtype: DType = "f16"
    tensors: Count
    elements: Count


#: What inputs of quantized products become; int16: two int8 terms, see `quantized_linear`.
Activations = Literal["float", "bf16", "int8", "int16"]


class QuantSummary(Record):
    """What was quantized, and everything that differs from the plain recipe."""

    recipe: str
    weights: tuple[QuantRecipe, ...] = ()
    kept: tuple[Name, ...] = ()
    """Weights left in float."""
    activations: Activations = "float"
    notes: tuple[str, ...] = ()


class KvPlan(Record):
    """Where keys and values live."""

    dtype: DType
    capacity: Count
    """The most tokens an `append` slot can hold: the context length."""
    bytes_per_token: Count = 0
    """Over all full slots, for one row of the batch."""
    ring_bytes: Count = 0
    """Over all ring slots, for one row of the batch."""
    share_buffer: bool = False
    """ONNX `ort` dialect: past and present are one preallocated buffer."""


class FileEntry(Record):
    """A file of a folder artifact."""

    path: Annotated[str, Field(min_length=1, max_length=1024)]
    bytes: Count
    sha256: Sha256


class Source(Record):
    """Which weights went in."""

    name: str = ""
    """Hub id or the directory's last name; never a path."""
    revision: str | None = None
    fingerprint: Sha256
    """sha256 over the sorted names, dtypes, shapes and bytes (or file hashes) of the source."""
    parameters: Count = 0
    architecture: str = ""
    """The class that config.json names."""
    bytes: Count = 0


class GenerationDefaults(Record):
    """What `generation_config.json` and config.json say about generation."""

    bos_token_id: Count | None = None
    eos_token_ids: TokenIds = ()
    pad_token_id: Count | None = None
    decoder_start_token_id: Count | None = None
    do_sample: bool = False
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_k: Count | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    max_new_tokens: Count | None = None
    max_length: Count | None = None
    """Prompt and new tokens together; holds where nothing says how many new ones."""
    min_new_tokens: Count | None = None
    no_repeat_ngram_size: Count | None = None
    suppress_tokens: TokenIds = ()
    begin_suppress_tokens: TokenIds = ()
    forced_decoder_ids: tuple[tuple[int, int], ...] = ()
    """(position, token) pairs, whisper: position 1 follows the decoder start token."""
    forced_bos_token_id: Count | None = None
    forced_eos_token_ids: TokenIds = ()
    settings: dict[Name, Any] = Field(default_factory=dict, max_length=64)
    """Other keys of generation_config.json that change a token; checked where they are used."""
    unsupported: tuple[str, ...] = ()
    """Settings smelt lacks, as `key=value`: `generate` refuses unless told to leave them out."""


class Pooling(Record):
    """How a sentence embedding is made of hidden states."""

    mode: Literal["mean", "cls", "max", "last"] = "mean"
    normalize: bool = False
    max_length: Count | None = None


class HiddenStates(Record):
    """What a language model gives beside its logits: ``hidden``, and ``layers`` where asked for."""

    layers: Annotated[int, Field(ge=0, le=4096)] = 0
    """States in ``layers`` [batch, seq, layers * dim], which the function ``head`` makes logits."""
    tied: bool = False
    """Whether the head shares the table of the embedding."""


class Manifest(Record):
    """Everything a runtime needs to know before it opens the graph."""

    format: Literal[1] = FORMAT_VERSION
    smelt: str
    """Version of the compiler that wrote it."""
    target: Literal["torch", "onnx", "tensorrt", "edge"]
    dialect: str | None = None
    task: Name
    model_type: Name
    source: Source
    functions: tuple[FunctionSpec, ...] = Field(min_length=1, max_length=64)
    state: tuple[StateSpec, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    context: Count | None = None
    """The most tokens of one sequence, prompt and answer together."""
    vocab_size: Count | None = None
    weights_dtype: DType = "f32"
    weights_bytes: Count = 0
    quant: QuantSummary | None = None
    kv: KvPlan | None = None
    requires: tuple[Name, ...] = ()
    """Runtime features without which the artifact must be refused."""
    generation: GenerationDefaults = GenerationDefaults()
    pooling: Pooling | None = None
    hidden: HiddenStates | None = None
    labels: tuple[str, ...] = ()
    """Class names in the order of the logits."""
    tokenizer: tuple[Name, ...] = ()
    """Paths of the tokenizer's files: tokenizer.json, tokenizer_config.json, …"""
    tokenizer_refused: str | None = None
    """Edge: why the file has no compiled tokenizer: the construct that has no tables."""
    template_refused: str | None = None
    """Edge: why a chat template is not compiled: the construct that has no code, and its line."""
    files: tuple[FileEntry, ...] = ()
    options: dict[str, str] = Field(default_factory=dict)
    """Whatever the backend wants back at open (profile shapes, build options), as text."""
    notes: tuple[str, ...] = ()
    certificate: Certificate | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        _unique([f.name for f in self.functions], "function")
        _unique([s.name for s in self.state], "state slot")
        _unique([s.name for s in self.symbols], "symbol")
        _unique([f.path for f in self.files], "file")
        slots = {slot.name for slot in self.state}
        for function in self.functions:
            _unique([t.name for t in function.inputs], f"input of `{function.name}`")
            _unique([t.name for t in function.outputs], f"output of `{function.name}`")
            for name in (*function.reads, *function.writes):
                if name not in slots:
                    raise ValueError(f"function `{function.name}` uses unknown state slot `{name}`")
        return self

    def function(self, name: str) -> FunctionSpec:
        """The function of that name; ArtifactError names those there are."""
        for function in self.functions:
            if function.name == name:
                return function
        known = ", ".join(f.name for f in self.functions)
        raise ArtifactError(f"artifact has no function `{name}`, it has: {known}")

    def has_function(self, name: str) -> bool:
        """Whether there is a function of that name."""
        return any(f.name == name for f in self.functions)

    def slot(self, name: str) -> StateSpec:
        """The state slot of that name."""
        for slot in self.state:
            if slot.name == name:
                return slot
        raise ArtifactError(f"artifact has no state slot `{name}`")

    def to_json(self) -> str:
        """Deterministic text: fixed field order, two-space indent, final newline."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        data = {"format": self.format, **data}
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _unique(names: list[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} `{name}` appears twice")
        seen.add(name)


def parse_manifest(text: str | bytes, *, place: str) -> Manifest:
    """Read a manifest that may be hostile; ArtifactError says which field is wrong."""
    if len(text) > MAX_MANIFEST_BYTES:
        raise ArtifactError(
            f"manifest has {len(text)} bytes, at most {MAX_MANIFEST_BYTES} are allowed", place=place
        )
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"manifest is not JSON: {error}", place=place) from None
    if not isinstance(data, dict):
        raise ArtifactError(f"manifest is a {type(data).__name__}, wants an object", place=place)
    version = data.get("format")
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"manifest has format {version!r}, this smelt reads {FORMAT_VERSION}",
            place=place,
            hint="compile the model again, or use the smelt that wrote it",
        )
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise ArtifactError(f"manifest field `{field}`: {first['msg']}", place=place) from None


def require_features(manifest: Manifest, supported: frozenset[str], *, place: str) -> None:
    """Refuse an artifact that needs what this runtime lacks, and name it."""
    missing = [feature for feature in manifest.requires if feature not in supported]
    if missing:
        raise ArtifactError(
            f"artifact needs runtime features that are missing here: {', '.join(missing)}",
            place=place,
            hint="open it with a newer smelt",
        )
