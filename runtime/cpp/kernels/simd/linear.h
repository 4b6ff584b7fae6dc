// Shared by the linear kernels of one instruction set: panels, epilogue.
#pragma once

#include "../isa.h"
#include "simd.h"
#include "vmath.h"

namespace smelt {
namespace SMELT_ISA_NS {

int TileHeight(Format format, Input input, int64_t rows);
int64_t UnpackBytes(const PackedShape& w, int64_t padded_cols, Input input, int height);
void Unpack(const PackedMatrix& w, Input input, int64_t panel, void* out);
void Enter(const PackedMatrix& w, Input input, int height);
void Leave(int height);
void PackTile(const TileInput& in);
void QuantizeTile(const TileInput& in);
void LinearFloat(const TileCall& call);
void LinearInt(const TileCall& call);

// Where a quantized row goes: `run` codes together (4, or a multiple of 16 that divides the group),
// runs run_stride bytes apart; scales and sums `stride` elements apart.
struct QuantizedRow {
  int8_t* q;
  int64_t run, run_stride;
  float* scales;
  int32_t* sums;  // factor * the sum of a group's codes; may be null
  int64_t stride;
  int32_t factor;
};
// x[cols] in groups; codes are written for whole groups, and so is what they leave over of x when
// `left` is given.
void QuantizeGroups(const float* x, int64_t cols, int64_t group, const QuantizedRow& out,
                    float* left);
// The same and, with two terms, what it left over as a second row `term_bytes` behind the first.
void QuantizeTerms(const float* x, int64_t cols, int64_t group, const QuantizedRow& first,
                   int terms, int64_t term_bytes);
void QuantizeRow(const float* x, int64_t cols, int32_t group, int8_t* q, float* scales);

// What a code's zero point is to this instruction set's dot product, when it is the same for the
// whole matrix.
SMELT_INLINE int32_t ConstantZero(Format format) {
  return format == Format::kInt4 ? 8 : 128 - kCodeBias8;
}

// Adds bias, activates, multiplies with the gated partner, adds the residual, and stores one panel
// of each row. acc, acc2: [count][16]; acc2 null unless gated.
void StorePanel(const TileCall& call, int64_t panel, const float* acc, const float* acc2);

// One linear kernel: rows of a tile x neighbouring panels, sums to out[panel][kTileRows][16] from
// the tile's row `row`.
using PanelKernel = void (*)(const PackedMatrix& w, int64_t panel, const TileCall& call, int row,
                             float* out);
// The shapes in which a format's kernel exists. Rows a kernel computes past the wanted ones are
// ignored.
struct PanelKernels {
  int panels, rows;                    // of `wide`
  PanelKernel wide, narrow;            // narrow: 4 rows, otherwise as wide
  PanelKernel last_wide, last_narrow;  // one panel: kTileRows or 4 rows
  int last_rows;
  PanelKernel middle = nullptr, last_middle = nullptr;  // 8 rows, where wide ones have more
};

// The same call for the second term of its input.
static inline TileCall SecondTerm(const TileCall& call) {
  TileCall second = call;
  second.tile = static_cast<const uint8_t*>(call.tile) +
                TermBytes(call.w->shape, call.w->padded_cols, call.height);
  return second;
}

// Runs the kernels over the panels of a call and stores each finished panel.
static inline void ForPanels(const TileCall& call, const PanelKernels& k) {
  alignas(64) float acc[2][2 * kTileRows * kPanel], more[2 * kTileRows * kPanel];
  const bool two = IsInt(call.input) && Terms(call.input) == 2;
  const TileCall second = two ? SecondTerm(call) : call;
  for (int64_t panel = call.panel_first; panel < call.panel_last;) {
    const bool pair = panel + k.panels <= call.panel_last;
    const int panels = pair ? k.panels : 1, rows = pair ? k.rows : k.last_rows;
    const PanelKernel wide = pair ? k.wide : k.last_wide, narrow = pair ? k.narrow : k.last_narrow,
                      middle = pair ? k.middle : k.last_middle;
    for (int row = 0; row < call.count;) {
      const int left = call.count - row;
      const bool few = left <= 4, some = !few && left <= 8 && middle != nullptr;
      const PanelKernel kernel = few ? narrow : some ? middle : wide;
      const int step = few ? 4 : some ? 8 : rows, made = left < step ? left : step;
      const auto run = [&](const PackedMatrix& w, float* out) {
        kernel(w, panel, call, row, out);
        if (!two) return;
        kernel(w, panel, second, row, more);
        for (int p = 0; p < panels; ++p) {
          for (int r = p * kTileRows; r < p * kTileRows + made; ++r) {
            Store(out + r * kPanel, Load(out + r * kPanel) + Load(more + r * kPanel));
          }
        }
      };
      run(*call.w, acc[0] + row * kPanel);
      if (call.w2 != nullptr) run(*call.w2, acc[1] + row * kPanel);
      row += step;
    }
    for (int p = 0; p < panels; ++p, ++panel) {
      const int at = p * kTileRows * kPanel;
      StorePanel(call, panel, acc[0] + at, call.w2 != nullptr ? acc[1] + at : nullptr);
    }
  }
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
