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

// Blocks of one row, alternating between accumulators, because here nothing else hides the latency
// of a product. int4: `odd` gathers the high nibbles, kHighShift bits too large where shifting the
// sum is cheaper than every block.
template <Format kFormat>
SMELT_INLINE void DotBlock(const uint8_t* codes, const int32_t* q, Vi& even, Vi& odd) {
  if constexpr (kFormat == Format::kInt8) {
    even = Dot8(even, Prepare8(LoadB(codes)), q);
    odd = Dot8(odd, Prepare8(LoadB(codes + 64)), q + 1);
  } else {
    const Vb block = LoadB(codes);
    even = Dot4(even, LowNibbles(block), q);
    odd = Dot4(odd, RawHighNibbles(block), q + 1);
  }
}

// Decode: one row.
template <Format kFormat, bool kZeros>
void PanelOfRow(const PackedMatrix& w, int64_t panel, const TileCall& call, int, float* out) {
  constexpr int64_t kBytes = kFormat == Format::kInt4 ? 64 : 128;  // 8 columns
  const int64_t groups = w.padded_cols / w.shape.group, blocks = w.shape.group / 8;
  const IntTile tile = TileAt(call);
  const int32_t* q = tile.q;
  Group<kFormat, kZeros> group;
  group.Begin(w, panel);
  Vf sum = Zero();
  for (int64_t g = 0; g < groups; ++g) {
    Vi even[2] = {group.Start(tile.start + g), SetI(0)}, odd[2] = {SetI(0), SetI(0)};
    for (int64_t b = 0; b < blocks;
         b += 2, group.codes += 2 * kBytes, q += 4) {  // groups are multiples of 16
      PrefetchWeights(group.codes, 2 * kBytes);
      DotBlock<kFormat>(group.codes, q, even[0], odd[0]);
      DotBlock<kFormat>(group.codes + kBytes, q + 2, even[1], odd[1]);
    }
    Vi high = odd[0] + odd[1];
    if constexpr (kFormat == Format::kInt4) high = Sra<kHighShift>(high);
    const Vf total = ToFloat(even[0] + even[1] + high);
    sum = Fma(total, LoadF16(group.scales) * Set1(tile.scale[g]), sum);
    group.Next();
  }
  Store(out, sum);
}

template <Format kFormat, bool kZeros>
void Run(const TileCall& call) {
  constexpr PanelKernel kRow = PanelOfRow<kFormat, kZeros>;
  if (call.height == 1) return ForPanels(call, {1, 1, kRow, kRow, kRow, kRow, 1});
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

namespace {

// Up to 16 whole groups of kVecs vectors (0: `vecs`): maxima and sums are folded together,
// divisions are vectors.
template <int kVecs>
void QuantizeBatch(const float* x, int64_t batch, int64_t vecs, const QuantizedRow& out) {
  const int64_t count = kVecs > 0 ? kVecs : vecs;
  Vf rows[16];
  for (int64_t i = batch; i < 16; ++i) rows[i] = Zero();
  for (int64_t i = 0; i < batch; ++i) {
    const float* from = x + i * 16 * count;
    Vf most = Abs(Load(from));
#pragma GCC unroll 8
    for (int64_t v = 1; v < count; ++v) most = Max(Abs(Load(from + 16 * v)), most);
    rows[i] = most;
  }
  const Vf top = MaxRows(rows);
  alignas(64) float inverse[16], scale[16], sum[16];
  Store(inverse, IfLess(Zero(), top, Set1(127.0f) / top, Zero()));
  Store(scale, top / Set1(127.0f));
  for (int64_t i = 0; i < batch; ++i) {
    const float* from = x + i * 16 * count;
    int8_t* q = out.q + i * 4 * count * out.quad_stride;
    const Vf by = Set1(inverse[i]);
    Vf codes = Zero();
#pragma GCC unroll 8
    for (int64_t v = 0; v < count; ++v) {
      const Vi code = ToInt(Clamp(Load(from + 16 * v) * by, -127.0f, 127.0f));
      codes = codes + ToFloat(code);
      if (out.quad_stride == 4) {
        StoreI8(q + 16 * v, code);
      } else {
        alignas(16) int8_t part[16];
        StoreI8(part, code);
        for (int j = 0; j < 4; ++j) memcpy(q + (4 * v + j) * out.quad_stride, part + 4 * j, 4);
      }
    }
    rows[i] = codes;
  }
  Store(sum, ReduceRows(rows));  // exact: at most 1024 * 127
  for (int64_t i = 0; i < batch; ++i) {
    out.scales[i * out.stride] = scale[i];
    if (out.sums != nullptr) out.sums[i * out.stride] = out.factor * static_cast<int32_t>(sum[i]);
  }
}

}  // namespace

void QuantizeGroups(const float* x, int64_t cols, int64_t group, const QuantizedRow& row) {
  const int64_t vecs = group / 16, whole = cols / group;
  const auto batch = vecs == 2   ? QuantizeBatch<2>
                     : vecs == 4 ? QuantizeBatch<4>
                     : vecs == 8 ? QuantizeBatch<8>
                                 : QuantizeBatch<0>;
  QuantizedRow out = row;
  for (int64_t g = 0; g < whole; g += 16) {
    const int64_t n = whole - g < 16 ? whole - g : 16;
    batch(x + g * group, n, vecs, out);
    out.q += n * group / 4 * out.quad_stride;
    out.scales += n * out.stride;
    if (out.sums != nullptr) out.sums += n * out.stride;
  }
  const int64_t rest = cols - whole * group;
  if (rest == 0) return;
  alignas(64) float part[1024] = {};  // the last group, filled with zeros
  memcpy(part, x + whole * group, static_cast<size_t>(rest) * 4);
  QuantizeBatch<0>(part, 1, vecs, out);
}

namespace {

// The floats or sums that lie `bytes` behind p, in the second term.
template <typename T>
T* Behind(T* p, int64_t bytes) {
  return p == nullptr ? nullptr : reinterpret_cast<T*>(reinterpret_cast<uint8_t*>(p) + bytes);
}

void Advance(QuantizedRow* row, int64_t group, int64_t groups) {
  row->q += groups * group / 4 * row->quad_stride;
  row->scales += groups * row->stride;
  if (row->sums != nullptr) row->sums += groups * row->stride;
}

}  // namespace

void QuantizeTerms(const float* x, int64_t cols, int64_t group, const QuantizedRow& first,
                   int terms, int64_t term_bytes) {
  if (terms == 1) return QuantizeGroups(x, cols, group, first);
  QuantizedRow row = first, rest = first;
  rest.q += term_bytes;
  rest.scales = Behind(first.scales, term_bytes);
  rest.sums = Behind(first.sums, term_bytes);
  constexpr int64_t kPart = 1024;  // a group is no larger
  alignas(64) float left[kPart];
  const int64_t step = kPart / group * group;
  for (int64_t at = 0; at < cols; at += step) {
    const int64_t n = cols - at < step ? cols - at : step, groups = (n + group - 1) / group;
    QuantizeGroups(x + at, n, group, row);
    for (int64_t i = 0; i < n; i += 4) {
      const int8_t* quad = row.q + i / 4 * row.quad_stride;
      const float scale = row.scales[i / group * row.stride];
      for (int64_t j = 0; j < 4 && i + j < n; ++j)
        left[i + j] = x[at + i + j] - static_cast<float>(quad[j]) * scale;
    }
    QuantizeGroups(left, n, group, rest);
    Advance(&row, group, groups);
    Advance(&rest, group, groups);
  }
}

void QuantizeTile(const TileInput& in) {
  const PackedShape& shape = in.w->shape;
  const int64_t padded = in.w->padded_cols, groups = padded / shape.group;
  int8_t* q = static_cast<int8_t*>(in.tile);
  float* scale = reinterpret_cast<float*>(q + padded * in.height);
  int32_t* start = reinterpret_cast<int32_t*>(scale + groups * in.height);
  const int32_t factor = in.w->zeros != nullptr ? 1 : -ConstantZero(shape.format);
  if (in.count < in.height)
    memset(in.tile, 0, static_cast<size_t>(TileBytes(shape, padded, in.input, in.height)));
  for (int r = 0; r < in.count; ++r) {
    QuantizeTerms(in.x[r], shape.cols, shape.group,
                  {q + 4 * r, 4 * in.height, scale + r, start + r, in.height, factor},
                  Terms(in.input), TermBytes(shape, padded, in.height));
  }
}

void QuantizeRow(const float* x, int64_t cols, int32_t group, int8_t* q, float* scales) {
  alignas(64) int8_t part[1024];  // whole vectors may pass a group's end
  for (int64_t first = 0; first < cols; first += group) {
    const int64_t n = cols - first < group ? cols - first : group;
    QuantizeGroups(x + first, n, RoundUp(n, 16), {part, 4, scales++, nullptr, 0, 0});
    memcpy(q + first, part, static_cast<size_t>(n));
  }
}

void LinearInt(const TileCall& call) {
  const bool zeros = call.w->zeros != nullptr;
  if (call.w->shape.format == Format::kInt4)
    return zeros ? Run<Format::kInt4, true>(call) : Run<Format::kInt4, false>(call);
  return zeros ? Run<Format::kInt8, true>(call) : Run<Format::kInt8, false>(call);
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
