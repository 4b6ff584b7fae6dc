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

// acc[r] += codes of one group · q, for kRows input rows that lie kHeight apart.
template <Format kFormat, int kRows, int kHeight>
SMELT_INLINE void DotGroup(const uint8_t* codes, const int32_t* q, int64_t group, Vi* acc) {
  if constexpr (kFormat == Format::kInt4) {
    for (int64_t b = 0; b < group / 8; ++b, codes += 64, q += 2 * kHeight) {
      const Vb block = LoadB(codes), low = LowNibbles(block), high = HighNibbles(block);
      for (int r = 0; r < kRows; ++r) acc[r] = Dot4(acc[r], low, q[r]);
      for (int r = 0; r < kRows; ++r) acc[r] = Dot4(acc[r], high, q[kHeight + r]);
    }
  } else {
    for (int64_t b = 0; b < group / 4; ++b, codes += 64, q += kHeight) {
      const Vb8 block = Prepare8(LoadB(codes));
      for (int r = 0; r < kRows; ++r) acc[r] = Dot8(acc[r], block, q[r]);
    }
  }
}

template <Format kFormat, bool kZeros, int kRows, int kHeight>
void Panel(const PackedMatrix& w, int64_t panel, const IntTile& tile, float* out) {
  const int64_t group = w.shape.group, groups = w.padded_cols / group;
  const int64_t code_bytes = group * (kFormat == Format::kInt4 ? 8 : 16);
  const uint8_t* codes = w.codes + panel * groups * code_bytes;
  const uint16_t* scales = w.scales + panel * groups * kPanel;
  const uint8_t* zeros = kZeros ? w.zeros + panel * groups * kPanel : nullptr;
  const int32_t* q = tile.q;
  const float* in_scale = tile.scale;
  const int32_t* start = tile.start;
  Vf sum[kRows];
  for (int r = 0; r < kRows; ++r) sum[r] = Zero();
  for (int64_t g = 0; g < groups; ++g) {
    Vi acc[kRows];
    if constexpr (kZeros) {
      const Vi bias = SetI(kFormat == Format::kInt8 ? kCodeBias8 : 0);
      const Vi zero = bias - LoadU8(zeros);
      for (int r = 0; r < kRows; ++r) acc[r] = zero * SetI(start[r]);
      zeros += kPanel;
    } else {
      for (int r = 0; r < kRows; ++r) acc[r] = SetI(start[r]);
    }
    DotGroup<kFormat, kRows, kHeight>(codes, q, group, acc);
    const Vf scale = LoadF16(scales);
    for (int r = 0; r < kRows; ++r) sum[r] = Fma(ToFloat(acc[r]), scale * Set1(in_scale[r]), sum[r]);
    codes += code_bytes;
    scales += kPanel;
    q += group / 4 * kHeight;
    in_scale += kHeight;
    start += kHeight;
  }
  for (int r = 0; r < kRows; ++r) Store(out + r * kPanel, sum[r]);
}

template <Format kFormat, bool kZeros>
void Run(const TileCall& call) {
  const IntTile tile = TileAt(call);
  if (call.height == 1) {
    ForPanels(call, [&](const PackedMatrix& w, int64_t panel, int, int, float* out) {
      Panel<kFormat, kZeros, 1, 1>(w, panel, tile, out);
      return 1;
    });
    return;
  }
  ForPanels(call, [&](const PackedMatrix& w, int64_t panel, int row, int rows, float* out) {
    const IntTile part = {tile.q + row, tile.scale + row, tile.start + row};
    if constexpr (kIntTile == kTileRows) {
      if (rows > 8) return Panel<kFormat, kZeros, 12, kTileRows>(w, panel, part, out), 12;
      if (rows > 4) return Panel<kFormat, kZeros, 8, kTileRows>(w, panel, part, out), 8;
    }
    return Panel<kFormat, kZeros, 4, kTileRows>(w, panel, part, out), 4;
  });
}

// One group of one row: q as 4-byte quads `height` apart; returns the scale and the codes' sum.
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

}  // namespace

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
