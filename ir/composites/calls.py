"""What a graph knows of the calls in which a text comes."""

from __future__ import annotations

from smelt.ir.dims import Size
from smelt.ir.op import composite
from smelt.ir.primitives.elementwise import equal, less, logical_and
from smelt.ir.primitives.leaves import arange
from smelt.ir.tensor import Tensor


@composite
def is_further_token(*, seq: Size, past: Size) -> Tensor:
    """Whether a call is for one token after others: bool [1].

    Results that depend on it depend on how a text is divided into calls, so verification has the
    reference read the text in the same calls as the artifact.
    """
    is_one = equal(arange(stop=seq, start=seq - 1), 0)
    return logical_and(is_one, less(0, arange(stop=past + 1, start=past)))
