// Products of bf16 by vdpbf16ps: two columns an instruction, at twice the speed of f32. A packed
// panel is already what it wants of its weights ([K/2][16][2]); inputs are rounded as everywhere
// and lie as pairs. One row stays with LinearFloat: memory bounds it.
#include "bf16.h"

#include <immintrin.h>

#include "bf16_pairs.h"
#include "linear.h"

namespace smelt {
namespace avx512 {
namespace {

bool HasPairs(const PackedMatrix& w, Input input, int height) {
  return input == Input::kBf16 && w.shape.format == Format::kBf16 && height == kTileRows;
}

template <int kRows, int kPanels>
void PanelsBf16(const PackedMatrix& w, int64_t panel, const TileCall& call, int row, float* out) {
  const float* x = static_cast<const float*>(call.tile) + row;
  const int64_t bytes = w.padded_cols * kPanel * 2;
  const uint8_t* p = w.codes + panel * bytes;
  Vf sum[kPanels][kRows];
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) sum[i][r] = Zero();
  }
  for (int64_t k = 0; k < w.padded_cols; k += 2, p += 64, x += kTileRows) {
    Vf pairs[kPanels];
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) pairs[i] = AsFloat(AsInt(LoadB(p + i * bytes)));
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const Vf in = Set1(x[r]);
#pragma GCC unroll 2
      for (int i = 0; i < kPanels; ++i) sum[i][r] = Dot2(sum[i][r], pairs[i], in);
    }
  }
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) Store(out + (i * kTileRows + r) * kPanel, sum[i][r]);
  }
}

}  // namespace

void Bf16PackTile(const TileInput& in) {
  if (!HasPairs(*in.w, in.input, in.height)) return PackTile(in);
  const int64_t cols = in.w->shape.cols, pairs = in.w->padded_cols / 2;
  const auto part = [&](int r, int64_t k) {
    if (r >= in.count) return Zero();
    const Vf low = k < cols ? LoadN(in.x[r] + k, cols - k) : Zero();
    const Vf high = k + 16 < cols ? LoadN(in.x[r] + k + 16, cols - k - 16) : Zero();
    return Rounded(low, high);
  };
  float* tile = static_cast<float*>(in.tile);  // 32 bits are a pair
  for (int64_t pair = 0; pair < pairs; pair += 16) {
    for (int r = 0; r < kTileRows; r += 4) {
      const int64_t k = 2 * pair;
      const Vf rows[4] = {part(r, k), part(r + 1, k), part(r + 2, k), part(r + 3, k)};
      StoreColumnsN(rows, tile + pair * kTileRows + r, kTileRows, pairs - pair);
    }
  }
}

void Bf16LinearFloat(const TileCall& call) {
  if (!HasPairs(*call.w, call.input, call.height)) return LinearFloat(call);
  ForPanels(call,
            {2, kTileRows, PanelsBf16<kTileRows, 2>, PanelsBf16<4, 2>, PanelsBf16<kTileRows, 1>,
             PanelsBf16<4, 1>, kTileRows, PanelsBf16<8, 2>, PanelsBf16<8, 1>});
}

}  // namespace avx512
}  // namespace smelt
