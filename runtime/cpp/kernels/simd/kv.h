// Rows of keys and values in any cache dtype.
#pragma once

#include "../isa.h"
#include "simd.h"

namespace smelt {
namespace SMELT_ISA_NS {

void KvStoreRow(const KvCache& cache, int64_t b, int64_t head, const float* row, int64_t slot);
// Logical position to f32; writes dim elements, and zeros up to a multiple of 16 when `pad`.
void KvLoadRow(const KvView& view, int64_t b, int64_t head, int64_t position, int64_t dim,
               float* row, bool pad);
void KvLoadPlain(const KvView& view, int64_t b, int64_t head, int64_t position, int64_t dim,
                 float* row);

SMELT_INLINE int64_t SlotOf(const KvView& view, int64_t position) {
  return view.ring > 0 ? position % view.ring : position;
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
