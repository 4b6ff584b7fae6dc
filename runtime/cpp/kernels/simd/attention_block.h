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

// Rows of f32 that can be read in place: one pointer and a stride; false when they must be
// converted or gathered.
static inline bool InPlace(const KvView& view, const AttentionBlock& t, int64_t first,
                           int64_t count, int64_t dim, const float** p) {
  if (view.dtype != DType::kF32 || dim % 16 != 0) return false;
  const int64_t slot = SlotOf(view, first);
  if (view.ring > 0 && slot + count > view.ring) return false;
  *p = static_cast<const float*>(view.data) + t.row * view.batch + t.kv_head * view.head +
       slot * view.token;
  return true;
}

static inline void Convert(const KvView& view, const AttentionBlock& t, int64_t first,
                           int64_t count, int64_t dim, int64_t stride, float* rows) {
  for (int64_t j = 0; j < count; ++j)
    KvLoadRow(view, t.row, t.kv_head, first + j, dim, rows + j * stride, true);
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
