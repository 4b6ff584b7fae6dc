"""Linear attention whose heads decay as a whole: chunks of tokens at once, as matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 64


def in_chunks(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """``linear_attention`` without beta, with one decay for each head.

    Within a chunk the tokens see each other as in attention, weighed by how much has decayed
    between them; the state goes from chunk to chunk. Source: Dao and Gu 2024, section 6.
    """
    import torch

    group = v.shape[2] // k.shape[2]
    outputs = []
    for start in range(0, v.shape[1], CHUNK):
        # [batch, heads, tokens, …]
        qs, ks, vs, ds = (x[:, start : start + CHUNK].transpose(1, 2) for x in (q, k, v, decay))
        scores = (qs @ ks.transpose(2, 3)).repeat_interleave(group, 1)
        qs, ks = qs.repeat_interleave(group, 1), ks.repeat_interleave(group, 1)
        seen = torch.ones_like(scores[0, 0]).tril()
        # between[i, j]: the sum of the decays of tokens j + 1 to i, each summed on its own, since
        # the difference of two long sums would be less exact.
        between = (ds * seen.tril(-1)).cumsum(2)
        weights = between.exp() * seen
        since = ds.cumsum(2).exp()
        outputs.append((scores * weights) @ vs + (qs @ state) * since)
        left = weights[:, :, -1:].transpose(2, 3)
        state = state * since[:, :, -1:] + (ks * left).transpose(2, 3) @ vs
    return torch.cat(outputs, 2).transpose(1, 2), state
