"""What MRA's CUDA kernels compute, on any device: products of chosen blocks of 32 by 32."""

from __future__ import annotations

from typing import Any


class BlockKernels:
    """The three functions that transformers takes from ``kernels-community/mra``.

    A block's number is its row of queries times the number of rows of keys, plus its row of keys.
    """

    @staticmethod
    def mm_to_sparse(query: Any, key: Any, indices: Any) -> Any:
        """Scores [batch, chosen, 32 keys, 32 queries] of query and key [batch, rows, dim, 32]."""
        rows = key.shape[1]
        return _take(key, indices % rows).transpose(-1, -2) @ _take(query, indices // rows)

    @staticmethod
    def sparse_dense_mm(weights: Any, indices: Any, value: Any, query_rows: int) -> Any:
        """Sums [batch, query rows, dim, 32] of values [batch, rows, dim, 32] by such weights."""
        rows = value.shape[1]
        parts = _take(value, indices % rows) @ weights
        out = parts.new_zeros(value.shape[0], query_rows, *parts.shape[2:])
        where = (indices // rows).long()[:, :, None, None].expand_as(parts)
        return out.scatter_add(1, where, parts)

    @staticmethod
    def index_max(values: Any, indices: Any, query_rows: int, rows: int) -> tuple[Any, Any]:
        """The largest [batch, 32 * query rows] of values [batch, 32, chosen], and each block's."""
        where = (indices // rows).long()[:, None, :].expand_as(values)
        out = values.new_full((*values.shape[:2], query_rows), -1e5)
        out = out.scatter_reduce(2, where, values, "amax")
        return out.transpose(1, 2).flatten(1), out.gather(2, where)


def _take(x: Any, rows: Any) -> Any:
    return x.gather(1, rows.long()[:, :, None, None].expand(-1, -1, *x.shape[2:]))
