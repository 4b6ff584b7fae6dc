"""The parity certificate: what was compared with what, how far apart, and how far is allowed.

`smelt.verify` writes it; it is stored in the manifest and can be made again with `smelt verify`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Finite = Annotated[float, Field(allow_inf_nan=False)]
Natural = Annotated[int, Field(ge=0, lt=2**63)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tolerance(_Record):
    """A bound and the reason for its size, in words or as a formula with its numbers."""

    name: str
    value: Finite
    derived: str


class OutputCheck(_Record):
    """One output of one call against the reference; step 0 is prefill, 1… are decode steps."""

    function: str
    output: str
    step: Natural
    max_abs_error: Finite
    max_abs_value: Finite
    """Largest absolute value of the reference: the scale for the error."""
    tolerance: Finite | None = None
    """Largest error allowed here; none where the check only informs (quantized logits)."""
    passed: bool


class SlotCheck(_Record):
    """One state slot after a step against the reference's, in logical order."""

    slot: str
    step: Natural
    max_abs_error: Finite
    max_abs_value: Finite
    tolerance: Finite | None = None
    first_bad: Natural | None = None
    """The first logical position (oldest is 0) over the tolerance."""
    passed: bool


class Distribution(_Record):
    """How a quantized model's next-token distributions differ from the reference's."""

    tokens: Natural
    kl_mean: Finite
    """Kullback-Leibler divergence in nats, reference to artifact, mean over positions."""
    kl_max: Finite
    top1_agreement: Finite
    perplexity_reference: Finite
    perplexity: Finite
    perplexity_difference: Finite
    """(perplexity - reference) / reference."""
    passed: bool


class StepError(_Record):
    """The worst of several tensors, over the scale of its channel."""

    max_error: Finite
    place: str
    tolerance: Finite


class FollowedSteps(StepError):
    """The artifact's tensors that the reference, from the artifact's own inputs, computed too."""

    tensors: Natural
    followed: Natural
    bf16_attention: StepError | None = None
    """Of attention whose probabilities may be rounded to bf16; not among the others."""


class Inputs(_Record):
    """Enough to make the same inputs again."""

    seed: Natural
    batch: Natural = 1
    prefill: Natural = 0
    decode_steps: Natural = 0
    text: str | None = None
    """The text whose tokens were used, where it was not random ids."""
    note: str = ""


class TextCheck(_Record):
    """The compiled tokenizer, or a compiled chat template, against the library that defines it."""

    part: str
    """`tokenizer`, or `chat template` and its name."""
    library: str
    """Name and version, such as `tokenizers 0.22.1`."""
    seed: Natural = 0
    compared: Natural = 0
    """Strings, or conversations that give a text."""
    sequences: Natural = 0
    """Random ids that were decoded."""
    refused: Natural = 0
    """Conversations that the template fails with, in both."""
    unsupported: Natural = 0
    """Conversations that only the compiled template refuses, with an error that says why."""
    differences: Natural = 0
    not_compiled: str = ""
    """Why there is nothing to compare: the construct that has no compiled form."""


class LayerDivergence(_Record):
    """Where artifact and reference part: the first layer over its tolerance."""

    layer: str
    max_abs_error: Finite
    max_abs_value: Finite


class Certificate(_Record):
    """The result of one verification; ``status`` is `not_run` only with a ``reason``."""

    status: Literal["passed", "failed", "not_run"]
    reason: str = ""
    reference: str
    """What it was compared with, such as `fp32 eager, unoptimized graph`."""
    engine: str = ""
    """Name and version of what ran the artifact, such as `onnxruntime 1.31.1`."""
    inputs: tuple[Inputs, ...] = ()
    tolerances: tuple[Tolerance, ...] = ()
    outputs: tuple[OutputCheck, ...] = ()
    slots: tuple[SlotCheck, ...] = ()
    distribution: Distribution | None = None
    steps: FollowedSteps | None = None
    """Where the end alone would prove little: outputs and slots then only inform."""
    divergence: LayerDivergence | None = None
    text: tuple[TextCheck, ...] = ()
    """The compiled tokenizer and chat templates, of an edge artifact."""
    weights_sha256: str | None = None
    """Fingerprint of the artifact's weights that were checked."""

    @property
    def passed(self) -> bool:
        """Whether it ran and every check held."""
        return self.status == "passed"

    @property
    def worst(self) -> float:
        """The largest error over its scale, of all outputs and slots."""
        pairs = [(check.max_abs_error, check.max_abs_value) for check in self.outputs]
        pairs += [(check.max_abs_error, check.max_abs_value) for check in self.slots]
        return max((error / max(value, 1e-30) for error, value in pairs), default=0.0)
