// Linear over int4 and int8 weights and int8 inputs: exact integer dots a group, scaled and summed
// in f32.
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

template <Format kFormat, bool kZeros>
struct Group {  // walks the groups of a panel
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
    if constexpr (!kZeros)
      return SetI(*start);
    else
      return (SetI(kFormat == Format::kInt8 ? kCodeBias8 : 0) - LoadU8(zeros)) * SetI(*start);
  }
};

template <Format kFormat>
constexpr int64_t BlockCols() {
  return kFormat == Format::kInt4 ? 8 : 4;
}

// One input quad for the panels: from memory when it serves one product, from a register when it
// serves several.
template <Format kFormat, int kPanels, int kRows, typename W>
SMELT_INLINE void DotRow(Vi (&acc)[kPanels][kRows], int r, const W (&w)[kPanels],
                         const int32_t* q) {
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
  const int64_t groups = w.padded_cols / w.shape.group,
                blocks = w.shape.group / BlockCols<kFormat>();
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
      for (int r = 0; r < kRows; ++r)
        sum[p][r] = Fma(ToFloat(acc[p][r]), scale * Set1(in_scale[r]), sum[p][r]);
    }
  }
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) Store(out + (p * kTileRows + r) * kPanel, sum[p][r]);
  }
}

#if SMELT_KERNEL_ISA == SMELT_I8MM

// Eight columns of a panel as pairs of rows: a block of int4, two blocks of int8.
template <Format kFormat>
SMELT_INLINE void PairsOfRows(const uint8_t* codes, int8x16_t* rows) {
  if constexpr (kFormat == Format::kInt4) {
    const Vb block = LoadB(codes), low = LowNibbles(block), high = HighNibbles(block);
    Zip({Signed(low.a), Signed(low.b), Signed(low.c), Signed(low.d)},
        {Signed(high.a), Signed(high.b), Signed(high.c), Signed(high.d)}, rows);
  } else {
    Zip(Prepare8(LoadB(codes)), Prepare8(LoadB(codes + 64)), rows);
  }
}

// Prefill with matrix products of 2 x 8 x 2: four rows of a tile. The integers are those of Panels.
template <Format kFormat, bool kZeros>
void Squared(const PackedMatrix& w, int64_t panel, const TileCall& call, int row, float* out) {
  constexpr int kHeight = kTileRows;
  const int64_t groups = w.padded_cols / w.shape.group, eights = w.shape.group / 8;
  const IntTile tile = TileAt(call);
  const int32_t* q = tile.q + row;
  const float* in_scale = tile.scale + row;
  const int32_t* start = tile.start + row;
  Group<kFormat, kZeros> group;
  group.Begin(w, panel);
  Vf sum[4] = {Zero(), Zero(), Zero(), Zero()};
  for (int64_t g = 0; g < groups; ++g, in_scale += kHeight, start += kHeight) {
    Squares acc[2] = {};
    for (int64_t b = 0; b < eights; ++b, q += 2 * kHeight) {
      int8x16_t rows[8];
      PairsOfRows<kFormat>(group.codes, rows);
      group.codes += kFormat == Format::kInt4 ? 64 : 128;
      Multiply(acc[0], rows, TwoInputs(q, kHeight));
      Multiply(acc[1], rows, TwoInputs(q + 2, kHeight));
    }
    const Vi sums[4] = {RowOf<0>(acc[0]), RowOf<1>(acc[0]), RowOf<0>(acc[1]), RowOf<1>(acc[1])};
    const Vf scale = LoadF16(group.scales);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r)
      sum[r] = Fma(ToFloat(sums[r] + group.Start(start + r)), scale * Set1(in_scale[r]), sum[r]);
    group.Next();
  }
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) Store(out + r * kPanel, sum[r]);
}

#endif

// One term of a decode row over a group. Blocks alternate between accumulators, because here
// nothing else hides the latency of a product. int4: `odd` gathers the high nibbles, kHighShift
// bits too large where shifting the sum is cheaper than every block.
template <Format kFormat>
struct RowSums {
  Vi even, odd;
  SMELT_INLINE_MEMBER void Begin(Vi start) {
    even = start;
    odd = SetI(0);
  }
  template <typename W>
  SMELT_INLINE_MEMBER void Add(W low, W high, const int32_t* q) {
    if constexpr (kFormat == Format::kInt4) {
      even = Dot4(even, low, q);
      odd = Dot4(odd, high, q + 1);
    } else {
      even = Dot8(even, low, q);
      odd = Dot8(odd, high, q + 1);
    }
  }
  SMELT_INLINE_MEMBER Vf Total() const {
    if constexpr (kFormat == Format::kInt4) return ToFloat(even + Sra<kHighShift>(odd));
    return ToFloat(even + odd);
  }
};

// Decode: one row. Every term of the input meets a block of weights while it is in registers.
// kAhead: weights are prefetched.
template <Format kFormat, bool kZeros, int kTerms, bool kAhead>
void PanelOfRow(const PackedMatrix& w, int64_t panel, const TileCall& call, float* out) {
  constexpr int64_t kBytes = kFormat == Format::kInt4 ? 64 : 128;  // 8 columns
  const int64_t groups = w.padded_cols / w.shape.group, blocks = w.shape.group / 8;
  const IntTile tile[2] = {TileAt(call), TileAt(kTerms == 2 ? SecondTerm(call) : call)};
  const int64_t term = tile[1].q - tile[0].q;  // the same distance for scales and starts
  const int32_t* q = tile[0].q;
  Group<kFormat, kZeros> group;
  group.Begin(w, panel);
  Vf sum[kTerms];
  for (Vf& s : sum) s = Zero();
  for (int64_t g = 0; g < groups; ++g) {
    RowSums<kFormat> terms[kTerms];
#pragma GCC unroll 2
    for (int t = 0; t < kTerms; ++t) terms[t].Begin(group.Start(tile[0].start + g + t * term));
    for (int64_t b = 0; b < blocks; ++b, group.codes += kBytes, q += 2) {
      if constexpr (kAhead) PrefetchWeights(group.codes, kBytes);
      if constexpr (kFormat == Format::kInt4) {
        const Vb block = LoadB(group.codes), low = LowNibbles(block), high = RawHighNibbles(block);
#pragma GCC unroll 2
        for (int t = 0; t < kTerms; ++t) terms[t].Add(low, high, q + t * term);
      } else {
        const Vb8 low = Prepare8(LoadB(group.codes)), high = Prepare8(LoadB(group.codes + 64));
#pragma GCC unroll 2
        for (int t = 0; t < kTerms; ++t) terms[t].Add(low, high, q + t * term);
      }
    }
    const Vf scale = LoadF16(group.scales);
#pragma GCC unroll 2
    for (int t = 0; t < kTerms; ++t)
      sum[t] = Fma(terms[t].Total(), scale * Set1(tile[0].scale[g + t * term]), sum[t]);
    group.Next();
  }
  if constexpr (kTerms == 2) return Store(out, sum[0] + sum[1]);
  Store(out, sum[0]);
}

// The hardware's prefetcher is ahead of int8's codes, and of the two streams of a gated pair:
// asking too costs these 5 to 25 %. One stream of int4, half as fast, gains 5 to 12 % (Zen 4, large
// pages).
template <Format kFormat, bool kZeros, int kTerms>
void RunRow(const TileCall& call) {
  constexpr auto kAlone = PanelOfRow<kFormat, kZeros, kTerms, kFormat == Format::kInt4>;
  constexpr auto kPaired = PanelOfRow<kFormat, kZeros, kTerms, false>;
  alignas(64) float acc[2][kPanel];
  for (int64_t panel = call.panel_first; panel < call.panel_last; ++panel) {
    if (call.w2 == nullptr) {
      kAlone(*call.w, panel, call, acc[0]);
      StorePanel(call, panel, acc[0], nullptr);
      continue;
    }
    kPaired(*call.w, panel, call, acc[0]);
    kPaired(*call.w2, panel, call, acc[1]);
    StorePanel(call, panel, acc[0], acc[1]);
  }
}

template <Format kFormat, bool kZeros>
void Run(const TileCall& call) {
  if (call.height == 1) {
    return Terms(call.input) == 2 ? RunRow<kFormat, kZeros, 2>(call)
                                  : RunRow<kFormat, kZeros, 1>(call);
  }
#if SMELT_KERNEL_ISA == SMELT_I8MM
  constexpr PanelKernel kNarrow = Squared<kFormat, kZeros>;
#else
  constexpr PanelKernel kNarrow = Panels<kFormat, kZeros, 4, 1>;
#endif
  if constexpr (kIntPanels == 1)
    return ForPanels(call, {1, 4, kNarrow, kNarrow, kNarrow, kNarrow, 4});
  ForPanels(call, {kIntPanels, kIntRows, Panels<kFormat, kZeros, kIntRows, kIntPanels>,
                   Panels<kFormat, kZeros, 4, kIntPanels>, Panels<kFormat, kZeros, kTileRows, 1>,
                   kNarrow, kTileRows});
}

}  // namespace

void LinearInt(const TileCall& call) {
  const bool zeros = call.w->zeros != nullptr;
  if (call.w->shape.format == Format::kInt4)
    return zeros ? Run<Format::kInt4, true>(call) : Run<Format::kInt4, false>(call);
  return zeros ? Run<Format::kInt8, true>(call) : Run<Format::kInt8, false>(call);
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
