"""What a compile may choose: weight quantization, cache type, context. Parsed from the command
line's text.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase

from smelt.errors import SmeltError
from smelt.ir.types import DType

GROUPS = (128, 64, 32, 16)

#: Roles that a tensor can be named by, beside its own name or a pattern of it.
ROLES = ("embedding", "lm_head")


@dataclass(frozen=True)
class Scheme:
    """How one weight is stored: bits a code, input columns a scale, and whether zero is fixed.

    With 16 bits it is rounded to bf16, and has no groups.
    """

    bits: int
    group: int = 32
    symmetric: bool = True

    @property
    def kind(self) -> str:
        """Its name in a recipe."""
        return "bf16" if self.is_bf16 else f"int{self.bits}"

    @property
    def is_bf16(self) -> bool:
        """Stored as floats."""
        return self.bits == 16

    def __str__(self) -> str:
        if self == Scheme(16):
            return self.kind
        return f"{self.kind},group={self.group},{'sym' if self.symmetric else 'asym'}"


@dataclass(frozen=True)
class Quant:
    """A quantization recipe.

    ``tensors`` overrides it for some: pairs of a role, a parameter's name or a pattern of names,
    and the scheme there (None: stays float). ``activations``: multiply codes in integers, with
    activations quantized at run time in the weight's groups to so many int8 terms (0: floats, 1:
    int8, 2: about 15 bits), and bf16 weights with activations rounded to bf16 (0: f32); None lets
    the target decide.
    """

    scheme: Scheme
    tensors: tuple[tuple[str, Scheme | None], ...] = ()
    activations: int | None = None

    def choose(self, names: tuple[str, ...], roles: tuple[str, ...]) -> tuple[Scheme | None, str]:
        """The scheme of a weight made of these parameters in these roles, and who decided."""
        for key, scheme in self.tensors:
            if key in roles or any(fnmatchcase(name, key) for name in names):
                return scheme, f"{key}={_kind(scheme)}"
        if roles and self.scheme.bits < 8:
            # A table is read a row at a time, or is the last step before the logits: half of the
            # quality that 4 bits lose is lost there.
            return Scheme(8, self.scheme.group, self.scheme.symmetric), f"{roles[0]} default"
        return self.scheme, "recipe"

    def __str__(self) -> str:
        parts = [str(self.scheme)]
        parts += [f"{key}={_kind(scheme)}" for key, scheme in self.tensors]
        if self.activations is not None:
            terms = _activations(self.scheme)
            names = {count: name for name, count in terms.items()}
            parts.append(f"activations={names[self.activations]}")
        return ",".join(parts)


def _kind(scheme: Scheme | None) -> str:
    return "none" if scheme is None else scheme.kind


@dataclass(frozen=True)
class Options:
    """What a pipeline may be told. ``context`` is the largest number of tokens in state."""

    quant: Quant | None = None
    kv: DType | None = None
    context: int | None = None


_BITS = {"bf16": 16, "int8": 8, "int4": 4}
_WORDS = "bf16, int8, int4 or none"


def _activations(scheme: Scheme) -> dict[str, int]:
    """What ``activations`` may be beside weights of a scheme."""
    return {"none": 0, "bf16": 1} if scheme.is_bf16 else {"none": 0, "int8": 1, "int16": 2}


_KV = {"f32": DType.F32, "f16": DType.F16, "bf16": DType.BF16, "int8": DType.I8}


def parse_quant(text: str) -> Quant | None:
    """The recipe of text such as
    ``int4,group=32,asym,lm_head=int8,*.down_proj.*=none,activations=int8``.

    The first word is bf16, int8, int4 or none. ``group`` is 16, 32, 64 or 128 (default 32).
    Whatever is not a setting names a tensor: ``embedding``, ``lm_head``, a parameter, or a pattern
    with ``*``.
    """
    first, *rest = (part.strip() for part in text.split(","))
    if first == "none" and not rest:
        return None
    if first not in _BITS:
        raise SmeltError(f"quantization begins with `{first}`, wants {_WORDS}")
    group, symmetric = 32, True
    activations: int | None = None
    named: list[tuple[str, str]] = []
    for part in rest:
        key, equals, value = part.rpartition("=")
        if part in ("sym", "asym"):
            symmetric = part == "sym"
        elif not equals or not key:
            near = difflib.get_close_matches(part, ["sym", "asym", "group=32", "lm_head=int8"], 1)
            example = "for example int4,group=32,lm_head=int8"
            hint = f"did you mean `{near[0]}`?" if near else example
            raise SmeltError(f"`{part}` is not a setting of a quantization", hint=hint)
        elif key == "group":
            if value not in map(str, GROUPS):
                raise SmeltError(f"group is {value}, wants one of {', '.join(map(str, GROUPS))}")
            group = int(value)
        elif key == "activations":
            terms = _activations(Scheme(_BITS[first]))
            if value not in terms:
                raise SmeltError(f"activations is {value} beside {first}, wants {', '.join(terms)}")
            activations = terms[value]
        elif value not in (*_BITS, "none"):
            raise SmeltError(f"{key} is {value}, wants {_WORDS}")
        else:
            named.append((key, value))
    tensors = tuple(
        (key, Scheme(_BITS[value], group, symmetric) if value in _BITS else None)
        for key, value in named
    )
    return Quant(Scheme(_BITS[first], group, symmetric), tensors, activations)


def parse_kv(text: str) -> DType:
    """The storage type of a cache, by name."""
    if text not in _KV:
        raise SmeltError(f"cache type is {text}, wants one of {', '.join(_KV)}")
    return _KV[text]
