// Linear over int4 and int8 weights and int8 inputs: exact integer dots a group, scaled and summed in f32.
#include "linear.h"

namespace smelt {
namespace SMELT_ISA_NS {
namespace {

struct IntTile {
  const int32_t* q;
  const float* scale;
  const int32_t* start;
};

IntTile TileAt(const TileCall& call) {
  const int64_t padded = call.w->padded_cols, groups = padded / call.w->shape.group;
  const uint8_t* p = static_cast<const uint8_t*>(call.tile);
  const uint8_t* scale = p + padded * call.height;
  return {reinterpret_cast<const int32_t*>(p), reinterpret_cast<const float*>(scale),
          reinterpret_cast<const int32_t*>(scale + groups * 4 * call.height)};
}

template <Format kFormat, bool kZeros> struct Group {  // walks the groups of a panel
  const uint8_t* codes;
  const uint16_t* scales;
  const uint8_t* zeros;
  void Begin(const PackedMatrix& w, int64_t panel) {
    const int64_t groups = w.padded_cols / w.shape.group;
    codes = w.codes + panel * w.padded_cols * (kFormat == Format::kInt4 ? 8 : 16);
    scales = w.scales + panel * groups * kPanel;
    zeros = kZeros ? w.zeros + panel * groups * kPanel : nullptr;
  }
  SMELT_INLINE_MEMBER void Next() {
    scales += kPanel;
    if (kZeros) zeros += kPanel;
  }
  // What an accumulator begins with: see TileInput.
  SMELT_INLINE_MEMBER Vi Start(const int32_t* start) const {
    if constexpr (!kZeros) return SetI(*start);
    else return (SetI(kFormat == Format::kInt8 ? kCodeBias8 : 0) - LoadU8(zeros)) * SetI(*start);
  }
};

template <Format kFormat> constexpr int64_t BlockCols() { return kFormat == Format::kInt4 ? 8 : 4; }

// One input quad for the panels: from memory when it serves one product, from a register when it serves several.
template <Format kFormat, int kPanels, int kRows, typename W>
SMELT_INLINE void DotRow(Vi (&acc)[kPanels][kRows], int r, const W (&w)[kPanels], const int32_t* q) {
  if constexpr (kPanels == 1 && kFormat == Format::kInt4) {
    acc[0][r] = Dot4(acc[0][r], w[0], q);
  } else if constexpr (kPanels == 1) {
    acc[0][r] = Dot8(acc[0][r], w[0], q);
  } else {
    const Vi x = SetI(*q);
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) acc[p][r] = DotQuad(acc[p][r], w[p], x);
  }
}

// Prefill: kRows rows of a tile x kPanels panels share every block of codes and every input quad.
template <Format kFormat, bool kZeros, int kRows, int kPanels>
void Panels(const PackedMatrix& w, int64_t panel, const TileCall& call, int row, float* out) {
  constexpr int kHeight = kTileRows;
  const int64_t groups = w.padded_cols / w.shape.group, blocks = w.shape.group / BlockCols<kFormat>();
  const IntTile tile = TileAt(call);
  const int32_t* q = tile.q + row;
  const float* in_scale = tile.scale + row;
  const int32_t* start = tile.start + row;
  Group<kFormat, kZeros> group[kPanels];
  Vf sum[kPanels][kRows];
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p) {
    group[p].Begin(w, panel + p);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) sum[p][r] = Zero();
  }
  for (int64_t g = 0; g < groups; ++g, in_scale += kHeight, start += kHeight) {
    Vi acc[kPanels][kRows];
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r) acc[p][r] = group[p].Start(start + r);
    }
    for (int64_t b = 0; b < blocks; ++b) {
      if constexpr (kFormat == Format::kInt4) {
        Vb low[kPanels], high[kPanels];
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) {
          const Vb block = LoadB(group[p].codes);
          low[p] = LowNibbles(block);
          high[p] = HighNibbles(block);
          group[p].codes += 64;
        }
#pragma GCC unroll 12
        for (int r = 0; r < kRows; ++r) DotRow<kFormat>(acc, r, low, q + r);
#pragma GCC unroll 12
        for (int r = 0; r < kRows; ++r) DotRow<kFormat>(acc, r, high, q + kHeight + r);
        q += 2 * kHeight;
      } else {
        Vb8 block[kPanels];
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) {
          block[p] = Prepare8(LoadB(group[p].codes));
          group[p].codes += 64;
        }
#pragma GCC unroll 12
        for (int r = 0; r < kRows; ++r) DotRow<kFormat>(acc, r, block, q + r);
        q += kHeight;
      }
    }
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
      const Vf scale = LoadF16(group[p].scales);
      group[p].Next();
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r) sum[p][r] = Fma(ToFloat(acc[p][r]), scale * Set1(in_scale[r]), sum[p][r]);
    }
  }
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) Store(out + (p * kTileRows + r) * kPanel, sum[p][r]);
  }
}

// Decode: one row; four accumulators, because here nothing else hides the latency of the dot product.
template <Format kFormat, bool kZeros>
void PanelOfRow(const PackedMatrix& w, int64_t panel, const TileCall& call, int, float* out) {
  constexpr int kQuads = kFormat == Format::kInt4 ? 2 : 1;
  const int64_t groups = w.padded_cols / w.shape.group, blocks = w.shape.group / BlockCols<kFormat>();
  const IntTile tile = TileAt(call);
  const int32_t* q = tile.q;
  Group<kFormat, kZeros> group;
  group.Begin(w, panel);
  const auto dot = [](Vi acc, const uint8_t* codes, const int32_t* x) {
    if constexpr (kFormat == Format::kInt8) return Dot8(acc, Prepare8(LoadB(codes)), x);
    const Vb block = LoadB(codes);
    return Dot4(Dot4(acc, LowNibbles(block), x), HighNibbles(block), x + 1);
  };
  Vf sum = Zero();
  for (int64_t g = 0; g < groups; ++g) {
    Vi acc[4] = {group.Start(tile.start + g), SetI(0), SetI(0), SetI(0)};
    int64_t b = blocks;
    for (; b >= 4; b -= 4, group.codes += 256, q += 4 * kQuads) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) acc[i] = dot(acc[i], group.codes + 64 * i, q + kQuads * i);
    }
    for (; b > 0; --b, group.codes += 64, q += kQuads) acc[0] = dot(acc[0], group.codes, q);
    const Vf total = ToFloat((acc[0] + acc[1]) + (acc[2] + acc[3]));
    sum = Fma(total, LoadF16(group.scales) * Set1(tile.scale[g]), sum);
    group.Next();
  }
  Store(out, sum);
}

template <Format kFormat, bool kZeros> void Run(const TileCall& call) {
  constexpr PanelKernel kRow = PanelOfRow<kFormat, kZeros>;
  if (call.height == 1) return ForPanels(call, {1, 1, kRow, kRow, kRow, kRow, 1});
  constexpr PanelKernel kNarrow = Panels<kFormat, kZeros, 4, 1>;
  if constexpr (kIntPanels == 1) return ForPanels(call, {1, 4, kNarrow, kNarrow, kNarrow, kNarrow, 4});
  ForPanels(call, {kIntPanels, kIntRows, Panels<kFormat, kZeros, kIntRows, kIntPanels>,
                   Panels<kFormat, kZeros, 4, kIntPanels>, Panels<kFormat, kZeros, kTileRows, 1>, kNarrow, kTileRows});
}

}  // namespace

// One group of one row: q as 4-byte quads `quad_stride` bytes apart; returns the scale and the codes' sum.
float QuantizeGroup(const float* x, int64_t n, int64_t group, int8_t* q, int64_t quad_stride, int32_t* sum) {
  Vf top = Zero();
  for (int64_t i = 0; i < n; i += 16) top = Max(Abs(LoadN(x + i, n - i)), top);
  const float amax = ReduceMax(top);
  const Vf inverse = Set1(amax > 0.0f ? 127.0f / amax : 0.0f);
  Vi total = SetI(0);
  for (int64_t i = 0; i < group; i += 16) {
    Vi code = SetI(0);
    if (i < n) code = ToInt(Clamp(LoadN(x + i, n - i) * inverse, -127.0f, 127.0f));
    total = total + code;
    if (quad_stride == 4) {
      StoreI8(q + i, code);
    } else {
      int8_t part[16];
      StoreI8(part, code);
      for (int j = 0; j < 4; ++j) memcpy(q + (i / 4 + j) * quad_stride, part + 4 * j, 4);
    }
  }
  *sum = ReduceAdd(total);
  return amax / 127.0f;
}

void QuantizeTile(const TileInput& in) {
  const PackedShape& shape = in.w->shape;
  const int64_t padded = in.w->padded_cols, group = shape.group, groups = padded / group;
  int8_t* q = static_cast<int8_t*>(in.tile);
  float* scale = reinterpret_cast<float*>(q + padded * in.height);
  int32_t* start = reinterpret_cast<int32_t*>(scale + groups * in.height);
  const int32_t factor = in.w->zeros != nullptr ? 1 : -ConstantZero(shape.format);
  if (in.count < in.height) memset(in.tile, 0, static_cast<size_t>((padded + groups * 8) * in.height));
  for (int r = 0; r < in.count; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t first = g * group, n = shape.cols - first < group ? shape.cols - first : group;
      int32_t sum = 0;
      scale[g * in.height + r] =
          QuantizeGroup(in.x[r] + first, n, group, q + first * in.height + 4 * r, 4 * in.height, &sum);
      start[g * in.height + r] = factor * sum;
    }
  }
}

void QuantizeRow(const float* x, int64_t cols, int32_t group, int8_t* q, float* scales) {
  alignas(64) int8_t part[1024];  // the largest group; whole vectors may pass the row's end
  for (int64_t first = 0; first < cols; first += group) {
    const int64_t n = cols - first < group ? cols - first : group;
    int32_t sum = 0;
    *scales++ = QuantizeGroup(x + first, n, RoundUp(n, 16), part, 4, &sum);
    memcpy(q + first, part, static_cast<size_t>(n));
  }
}

void LinearInt(const TileCall& call) {
  const bool zeros = call.w->zeros != nullptr;
  if (call.w->shape.format == Format::kInt4) return zeros ? Run<Format::kInt4, true>(call) : Run<Format::kInt4, false>(call);
  return zeros ? Run<Format::kInt8, true>(call) : Run<Format::kInt8, false>(call);
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
