// Quantization of inputs at run time: int8 codes a group, once or twice.
#include "linear.h"

namespace smelt {
namespace SMELT_ISA_NS {
namespace {

// body(v) of every vector of a group: a loop where their number is not known.
template <int kVecs, typename Body>
SMELT_INLINE void ForVectors(int64_t count, const Body& body) {
  if constexpr (kVecs > 0) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < kVecs; ++v) body(v);
  } else {
    for (int64_t v = 0; v < count; ++v) body(v);
  }
}

// Up to 16 whole groups of kVecs vectors (0: `vecs`): maxima and sums are folded together,
// divisions are vectors. left, when given: what the codes leave over.
template <int kVecs>
void QuantizeBatch(const float* x, int64_t batch, int64_t vecs, const QuantizedRow& out,
                   float* left) {
  const int64_t count = kVecs > 0 ? kVecs : vecs;
  Vf rows[16];
  for (int64_t i = batch; i < 16; ++i) rows[i] = Zero();
  for (int64_t i = 0; i < batch; ++i) {
    const float* from = x + i * 16 * count;
    Vf most = Zero();
    ForVectors<kVecs>(count, [&](int64_t v) __attribute__((always_inline)) {
      most = Max(Abs(Load(from + 16 * v)), most);
    });
    rows[i] = most;
  }
  const Vf top = MaxRows(rows);
  alignas(64) float inverse[16], scale[16], sum[16];
  Store(inverse, IfLess(Zero(), top, Set1(127.0f) / top, Zero()));
  Store(scale, top / Set1(127.0f));
  for (int64_t i = 0; i < batch; ++i) {
    const float* from = x + i * 16 * count;
    int8_t* to = out.q + i * 16 * count / out.run * out.run_stride;
    int64_t together = out.run;
    const Vf by = Set1(inverse[i]), step = Set1(scale[i]);
    Vf codes = Zero();
    ForVectors<kVecs>(count, [&](int64_t v) __attribute__((always_inline)) {
      const Vf value = Load(from + 16 * v);
      const Vi code = ToInt(Clamp(value * by, -127.0f, 127.0f));
      const Vf rounded = ToFloat(code);
      codes = codes + rounded;
      if (left != nullptr) Store(left + (i * count + v) * 16, value - rounded * step);
      if (out.run > 4) {
        StoreI8(to, code);
        to += 16;
        together -= 16;
        if (together > 0) return;
        to += out.run_stride - out.run;
        together = out.run;
      } else {
        alignas(16) int8_t part[16];
        StoreI8(part, code);
        for (int j = 0; j < 4; ++j, to += out.run_stride) memcpy(to, part + 4 * j, 4);
      }
    });
    rows[i] = codes;
  }
  Store(sum, ReduceRows(rows));  // exact: at most 1024 * 127
  for (int64_t i = 0; i < batch; ++i) {
    out.scales[i * out.stride] = scale[i];
    if (out.sums != nullptr) out.sums[i * out.stride] = out.factor * static_cast<int32_t>(sum[i]);
  }
}

}  // namespace

void QuantizeGroups(const float* x, int64_t cols, int64_t group, const QuantizedRow& row,
                    float* left) {
  const int64_t vecs = group / 16, whole = cols / group;
  const auto batch = vecs == 2   ? QuantizeBatch<2>
                     : vecs == 4 ? QuantizeBatch<4>
                     : vecs == 8 ? QuantizeBatch<8>
                                 : QuantizeBatch<0>;
  QuantizedRow out = row;
  for (int64_t g = 0; g < whole; g += 16) {
    const int64_t n = whole - g < 16 ? whole - g : 16;
    batch(x + g * group, n, vecs, out, left != nullptr ? left + g * group : nullptr);
    out.q += n * group / out.run * out.run_stride;
    out.scales += n * out.stride;
    if (out.sums != nullptr) out.sums += n * out.stride;
  }
  const int64_t rest = cols - whole * group;
  if (rest == 0) return;
  alignas(64) float part[1024] = {};  // the last group, filled with zeros
  memcpy(part, x + whole * group, static_cast<size_t>(rest) * 4);
  QuantizeBatch<0>(part, 1, vecs, out, left != nullptr ? left + whole * group : nullptr);
}

namespace {

// The floats or sums that lie `bytes` behind p, in the second term.
template <typename T>
T* Behind(T* p, int64_t bytes) {
  return p == nullptr ? nullptr : reinterpret_cast<T*>(reinterpret_cast<uint8_t*>(p) + bytes);
}

void Advance(QuantizedRow* row, int64_t group, int64_t groups) {
  row->q += groups * group / row->run * row->run_stride;
  row->scales += groups * row->stride;
  if (row->sums != nullptr) row->sums += groups * row->stride;
}

}  // namespace

void QuantizeTerms(const float* x, int64_t cols, int64_t group, const QuantizedRow& first,
                   int terms, int64_t term_bytes) {
  if (terms == 1) return QuantizeGroups(x, cols, group, first, nullptr);
  QuantizedRow row = first, rest = first;
  rest.q += term_bytes;
  rest.scales = Behind(first.scales, term_bytes);
  rest.sums = Behind(first.sums, term_bytes);
  constexpr int64_t kPart = 1024;  // a group is no larger
  alignas(64) float left[kPart];
  const int64_t step = kPart / group * group;
  for (int64_t at = 0; at < cols; at += step) {
    const int64_t n = cols - at < step ? cols - at : step, groups = (n + group - 1) / group;
    QuantizeGroups(x + at, n, group, row, left);
    QuantizeGroups(left, n, group, rest, nullptr);
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
  const int64_t run = in.height == 1 ? 16 : 4;
  if (in.count < in.height)
    memset(in.tile, 0, static_cast<size_t>(TileBytes(shape, padded, in.input, in.height)));
  for (int r = 0; r < in.count; ++r) {
    QuantizeTerms(in.x[r], shape.cols, shape.group,
                  {q + 4 * r, run, run * in.height, scale + r, start + r, in.height, factor},
                  Terms(in.input), TermBytes(shape, padded, in.height));
  }
}

void QuantizeRow(const float* x, int64_t cols, int32_t group, int8_t* q, float* scales) {
  alignas(64) int8_t part[1024];  // whole vectors may pass a group's end
  for (int64_t first = 0; first < cols; first += group) {
    const int64_t n = cols - first < group ? cols - first : group;
    QuantizeGroups(x + first, n, RoundUp(n, 16), {part, 16, 16, scales++, nullptr, 0, 0}, nullptr);
    memcpy(q + first, part, static_cast<size_t>(n));
  }
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
