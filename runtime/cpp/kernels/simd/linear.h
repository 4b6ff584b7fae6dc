// Shared by the linear kernels of one instruction set: panels, epilogue.
#pragma once

#include "../isa.h"
#include "simd.h"
#include "vmath.h"

namespace smelt {
namespace SMELT_ISA_NS {

void PackTile(const TileInput& in);
void QuantizeTile(const TileInput& in);
void LinearFloat(const TileCall& call);
void LinearInt(const TileCall& call);
void QuantizeRow(const float* x, int64_t cols, int32_t group, int8_t* q, float* scales);

// What a code's zero point is to this instruction set's dot product, when it is the same for the whole matrix.
SMELT_INLINE int32_t ConstantZero(Format format) { return format == Format::kInt4 ? 8 : 128 - kCodeBias8; }

// Adds bias, activates, multiplies with the gated partner, adds the residual, and stores one panel of each row.
// acc, acc2: [count][16]; acc2 null unless gated.
void StorePanel(const TileCall& call, int64_t panel, const float* acc, const float* acc2);

// Runs one kernel over the panels of a call. kernel(w, panel, row_first, rows wanted, acc) computes at least the
// wanted rows into acc[rows][16] and returns how many rows it did.
template <typename Kernel>
SMELT_INLINE void ForPanels(const TileCall& call, const Kernel& kernel) {
  alignas(64) float acc[2][kTileRows * kPanel];
  for (int64_t panel = call.panel_first; panel < call.panel_last; ++panel) {
    for (int r = 0; r < call.count;) r += kernel(*call.w, panel, r, call.count - r, acc[0] + r * kPanel);
    if (call.w2 != nullptr) {
      for (int r = 0; r < call.count;) r += kernel(*call.w2, panel, r, call.count - r, acc[1] + r * kPanel);
    }
    StorePanel(call, panel, acc[0], call.w2 != nullptr ? acc[1] : nullptr);
  }
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
