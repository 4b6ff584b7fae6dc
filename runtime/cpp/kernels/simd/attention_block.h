// Shared by attention over blocks of queries (prefill) and chunks of keys (decode).
#pragma once

#include <cmath>

#include "attention.h"
#include "gemm.h"
#include "kv.h"
#include "vmath.h"

namespace smelt {
namespace SMELT_ISA_NS {

struct Geometry {  // what a block's loops need again and again
  const AttentionArgs& a;
  int64_t group, rows, head0;
  explicit Geometry(const AttentionBlock& t)
      : a(*t.args),
        group(a.heads / a.kv_heads),
        rows((t.query_last - t.query_first) * group),
        head0(t.kv_head * group) {}
};

SMELT_INLINE const float* QueryRow(const Geometry& g, const AttentionBlock& t, int64_t row) {
  const int64_t token = t.query_first + row / g.group, head = g.head0 + row % g.group;
  return g.a.q.data + t.b * g.a.q.batch + head * g.a.q.head + token * g.a.q.token;
}

SMELT_INLINE const float* BiasRow(const Geometry& g, const AttentionBlock& t, int64_t row) {
  const int64_t token = t.query_first + row / g.group, head = g.head0 + row % g.group;
  return g.a.bias + t.b * g.a.bias_batch + head * g.a.bias_head + token * g.a.bias_query;
}

// Sixteen channels of a query, n of them there, scaled, and rounded as the arguments say.
SMELT_INLINE Vf QueryPart(const Geometry& g, const float* q, int64_t n) {
  const Vf x = LoadN(q, n) * Set1(g.a.scale);
  return g.a.bf16 ? RoundToBf16(x) : x;
}

// Where rows of keys or values lie as they are computed with, evenly apart; null when they must be
// converted or gathered.
template <typename T>
const T* InPlace(const KvView& view, DType dtype, const AttentionBlock& t, int64_t first,
                 int64_t count) {
  const int64_t slot = SlotOf(view, first);
  if (view.dtype != dtype || (view.ring > 0 && slot + count > view.ring)) return nullptr;
  return static_cast<const T*>(view.data) + t.row * view.batch + t.kv_head * view.head +
         slot * view.token;
}

SMELT_INLINE bool IsRounded(const KvView& view, const AttentionBlock& t) {
  return t.args->bf16 && view.dtype != DType::kBf16;
}

static inline void Convert(const KvView& view, const AttentionBlock& t, int64_t first,
                           int64_t count, int64_t dim, int64_t stride, float* rows) {
  for (int64_t j = 0; j < count; ++j, rows += stride) {
    KvLoadRow(view, t.row, t.kv_head, first + j, dim, rows, true);
    for (int64_t d = 0; IsRounded(view, t) && d < dim; d += 16)
      Store(rows + d, RoundToBf16(Load(rows + d)));
  }
}

// out = acc / sum after the row's sink, if any; nothing allowed gives zeros.
void Finish(const Geometry& g, const AttentionBlock& t, int64_t row, const float* acc, float top,
            float sum);

SMELT_INLINE Vf SoftCap(Vf s, float cap) { return Set1(cap) * Tanh(s * Set1(1.0f / cap)); }

SMELT_INLINE bool Masked(const Geometry& g, const AttentionBlock& t, int64_t key) {
  return g.a.mask != nullptr && g.a.mask[t.b * g.a.mask_batch + key] == 0;
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
