// Attention for decode: few rows, a chunk of the keys, scores as [row][key]. Keys and values are
// widened in registers, so that the cache is read once, at its own width.
#include "attention_block.h"

namespace smelt {
namespace SMELT_ISA_NS {
namespace {

struct LoadF32Row {
  using Element = float;
  static SMELT_INLINE_MEMBER Vf At(const float* p) { return Load(p); }
};
struct LoadF16Row {
  using Element = uint16_t;
  static SMELT_INLINE_MEMBER Vf At(const uint16_t* p) { return LoadF16(p); }
};
struct LoadBf16Row {
  using Element = uint16_t;
  static SMELT_INLINE_MEMBER Vf At(const uint16_t* p) { return LoadBf16(p); }
};
struct LoadI8Row {
  using Element = int8_t;
  static SMELT_INLINE_MEMBER Vf At(const int8_t* p) { return LoadI8(p); }
};

// body(n) with n as a constant: [] { return n; }.
template <typename Body>
SMELT_INLINE void WithRows(int64_t n, const Body& body) {
  if constexpr (kDecodeRows >= 4) {
    if (n == 4) return body([] { return 4; });
    if (n == 3) return body([] { return 3; });
    if (n == 2) return body([] { return 2; });
  }
  body([] { return 1; });
}

// A run of keys or values that lie evenly apart.
struct Run {
  const void* data;
  const float* scales;  // of kI8, one a key; else null
  int64_t stride, count;
};

// scores[row][0, kKeys) for kRows x kKeys = at most 16 sums, folded into one vector at the end.
template <typename Loader, int kRows, int kKeys>
SMELT_INLINE void DotTile(const float* query, int64_t dim, const typename Loader::Element* keys,
                          int64_t stride, float* scores, int64_t scores_stride) {
  Vf sum[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) sum[i] = Zero();
  for (int64_t d = 0; d < dim; d += 16) {
    Vf q[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) q[r] = Load(query + r * dim + d);
#pragma GCC unroll 16
    for (int j = 0; j < kKeys; ++j) {
      const Vf key = Loader::At(keys + j * stride + d);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) sum[r * kKeys + j] = Fma(q[r], key, sum[r * kKeys + j]);
    }
  }
  alignas(64) float all[16];
  Store(all, ReduceRows(sum));
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) memcpy(scores + r * scores_stride, all + r * kKeys, kKeys * 4);
}

template <typename Loader, int kRows>
void DotRows(const float* query, int64_t dim, const Run& run, float* scores,
             int64_t scores_stride) {
  constexpr int kKeys = kRows == 1 ? 16 : kRows == 2 ? 8 : 4;
  using Element = typename Loader::Element;
  const Element* keys = static_cast<const Element*>(run.data);
  int64_t j = 0;
  for (; j + kKeys <= run.count; j += kKeys) {
    PrefetchWeights(reinterpret_cast<const uint8_t*>(keys + j * run.stride),
                    kKeys * dim * static_cast<int64_t>(sizeof(Element)));
    DotTile<Loader, kRows, kKeys>(query, dim, keys + j * run.stride, run.stride, scores + j,
                                  scores_stride);
  }
  for (; j < run.count; ++j) {
    DotTile<Loader, kRows, 1>(query, dim, keys + j * run.stride, run.stride, scores + j,
                              scores_stride);
  }
}

template <typename Loader>
void DotRun(const float* query, int64_t rows, int64_t dim, const Run& run, float* scores,
            int64_t scores_stride) {
  for (int64_t row = 0; row < rows;) {
    const int64_t n = rows - row < kDecodeRows ? rows - row : kDecodeRows;
    WithRows(n, [&](auto rows_of) {
      DotRows<Loader, rows_of()>(query + row * dim, dim, run, scores + row * scores_stride,
                                 scores_stride);
    });
    row += n;
  }
  for (int64_t row = 0; run.scales != nullptr && row < rows; ++row) {
    float* s = scores + row * scores_stride;
    for (int64_t j = 0; j < run.count; ++j) s[j] *= run.scales[j];
  }
}

// out[kRows][16 * kVecs] += sum over keys of p[row][key] * value[key].
template <typename Loader, int kRows, int kVecs>
void AddTile(const float* p, int64_t p_stride, const Run& run, int64_t channel, float* out,
             int64_t out_stride) {
  const typename Loader::Element* values =
      static_cast<const typename Loader::Element*>(run.data) + channel;
  Vf sum[kRows][kVecs];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) sum[r][v] = Load(out + r * out_stride + 16 * v);
  }
  for (int64_t j = 0; j < run.count; ++j, values += run.stride) {
    PrefetchWeights(reinterpret_cast<const uint8_t*>(values),
                    16 * kVecs * static_cast<int64_t>(sizeof *values));
    Vf value[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) value[v] = Loader::At(values + 16 * v);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const Vf x = Set1(p[r * p_stride + j]);
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) sum[r][v] = Fma(x, value[v], sum[r][v]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) Store(out + r * out_stride + 16 * v, sum[r][v]);
  }
}

// p is scaled in place where the values have scales: it is not needed again.
template <typename Loader>
void AddRun(float* p, int64_t p_stride, int64_t rows, int64_t dim, const Run& run, float* out) {
  for (int64_t row = 0; run.scales != nullptr && row < rows; ++row) {
    for (int64_t j = 0; j < run.count; ++j) p[row * p_stride + j] *= run.scales[j];
  }
  for (int64_t row = 0; row < rows;) {
    const int64_t n = rows - row < kDecodeRows ? rows - row : kDecodeRows;
    for (int64_t d = 0; d < dim;) {
      const bool four = kGemmCols >= 4 && dim - d >= 64;
      constexpr int kVecs = kGemmCols >= 4 ? 4 : 1;
      WithRows(n, [&](auto rows_of) {
        const auto tile = four ? AddTile<Loader, rows_of(), kVecs> : AddTile<Loader, rows_of(), 1>;
        tile(p + row * p_stride, p_stride, run, d, out + row * dim + d, dim);
      });
      d += four ? 64 : 16;
    }
    row += n;
  }
}

// Calls body(run, first key) for the evenly spaced runs of keys [t.key_first, t.key_last): two
// where a ring wraps. Rows whose width is no multiple of 16, or that are to be rounded, are widened
// and padded into `buffer`, kKeyTile at a time.
template <typename Body>
void ForRuns(const KvView& view, const AttentionBlock& t, int64_t dim, float* buffer,
             const Body& body) {
  static constexpr int64_t kBytes[] = {4, 2, 2, 1};
  for (int64_t key = t.key_first; key < t.key_last;) {
    const int64_t slot = SlotOf(view, key);
    int64_t count = t.key_last - key;
    if (view.ring > 0 && slot + count > view.ring) count = view.ring - slot;
    if (dim % 16 == 0 && !IsRounded(view, t)) {
      const int64_t at = t.row * view.batch + t.kv_head * view.head + slot * view.token;
      const float* scales = view.dtype == DType::kI8 ? view.scales + t.row * view.scale_batch +
                                                           t.kv_head * view.scale_head + slot
                                                     : nullptr;
      body(view.dtype,
           Run{static_cast<const uint8_t*>(view.data) + at * kBytes[static_cast<int>(view.dtype)],
               scales, view.token, count},
           key - t.key_first);
    } else {
      if (count > kKeyTile) count = kKeyTile;
      const int64_t stride = RoundUp(dim, 16);
      Convert(view, t, key, count, dim, stride, buffer);
      body(DType::kF32, Run{buffer, nullptr, stride, count}, key - t.key_first);
    }
    key += count;
  }
}

// Soft cap, bias, masks; then p = exp(score - max), with the maximum and the sum.
void SoftmaxRow(const Geometry& g, const AttentionBlock& t, int64_t row, int64_t lanes, float* s,
                float* top, float* sum) {
  const int64_t count = t.key_last - t.key_first;
  for (int64_t j = count; j < lanes; ++j) s[j] = -INFINITY;
  if (g.a.softcap > 0.0f) {
    for (int64_t j = 0; j < lanes; j += 16) Store(s + j, SoftCap(Load(s + j), g.a.softcap));
    for (int64_t j = count; j < lanes; ++j) s[j] = -INFINITY;
  }
  const KeyRange r = KeysOf(g.a, t.b, t.query_first + row / g.group);
  const float* bias = g.a.bias != nullptr ? BiasRow(g, t, row) + t.key_first : nullptr;
  for (int64_t j = 0; bias != nullptr && j < count; ++j) s[j] += bias[j];
  for (int64_t j = 0; j < r.first - t.key_first && j < count; ++j) s[j] = -INFINITY;
  for (int64_t j = r.last > t.key_first ? r.last - t.key_first : 0; j < count; ++j)
    s[j] = -INFINITY;
  for (int64_t j = 0; g.a.mask != nullptr && j < count; ++j) {
    if (Masked(g, t, t.key_first + j)) s[j] = -INFINITY;
  }
  Vf most = Set1(-INFINITY), total = Zero();
  for (int64_t j = 0; j < lanes; j += 16) most = Max(Load(s + j), most);
  *top = ReduceMax(most);
  const Vf base = Set1(*top == -INFINITY ? 0.0f : *top);
  for (int64_t j = 0; j < lanes; j += 16) {
    const Vf e = Exp(Load(s + j) - base);
    Store(s + j, e);
    total = total + e;
  }
  *sum = ReduceAdd(total);
}

}  // namespace

void AttendChunk(const AttentionBlock& t) {
  const Geometry g(t);
  const BlockSizes size = DecodeSizes(g.a, g.rows, t.key_last - t.key_first);
  float* query = t.scratch;
  float* scores = query + size.query;
  float* buffer = scores + size.scores;
  float* out = t.partial;
  float* tops = out + g.rows * size.value;
  float* sums = tops + g.rows;
  for (int64_t row = 0; row < g.rows; ++row) {
    const float* q = QueryRow(g, t, row);
    for (int64_t d = 0; d < size.dim; d += 16) {
      Store(query + row * size.dim + d, QueryPart(g, q + d, g.a.dim - d));
    }
  }
  ForRuns(g.a.k, t, g.a.dim, buffer, [&](DType dtype, const Run& run, int64_t first) {
    const auto dot = dtype == DType::kF32    ? DotRun<LoadF32Row>
                     : dtype == DType::kF16  ? DotRun<LoadF16Row>
                     : dtype == DType::kBf16 ? DotRun<LoadBf16Row>
                                             : DotRun<LoadI8Row>;
    dot(query, g.rows, size.dim, run, scores + first, size.lanes);
  });
  for (int64_t row = 0; row < g.rows; ++row) {
    SoftmaxRow(g, t, row, size.lanes, scores + row * size.lanes, tops + row, sums + row);
  }
  memset(out, 0, static_cast<size_t>(g.rows * size.value) * 4);
  ForRuns(g.a.v, t, g.a.value_dim, buffer, [&](DType dtype, const Run& run, int64_t first) {
    const auto add = dtype == DType::kF32    ? AddRun<LoadF32Row>
                     : dtype == DType::kF16  ? AddRun<LoadF16Row>
                     : dtype == DType::kBf16 ? AddRun<LoadBf16Row>
                                             : AddRun<LoadI8Row>;
    add(scores + first, size.lanes, g.rows, size.value, run, out);
  });
}

void MergeChunks(const AttentionBlock& t, int64_t chunks, int64_t partial_stride) {
  const Geometry g(t);
  const int64_t value = RoundUp(g.a.value_dim, 16);
  for (int64_t row = 0; row < g.rows; ++row) {
    const auto part = [&](int64_t c) { return t.partial + c * partial_stride; };
    float top = -INFINITY, sum = 0.0f;
    for (int64_t c = 0; c < chunks; ++c) {
      const float x = part(c)[g.rows * value + row];
      top = x > top ? x : top;
    }
    float* acc = part(0) + row * value;
    for (int64_t c = 0; c < chunks && top > -INFINITY; ++c) {
      const float* tops = part(c) + g.rows * value;
      const float fade = tops[row] == -INFINITY ? 0.0f : expf(tops[row] - top);
      sum += fade * tops[g.rows + row];
      const float* from = part(c) + row * value;
      for (int64_t d = 0; d < value; d += 16) {
        const Vf x = Load(from + d) * Set1(fade);
        Store(acc + d, c == 0 ? x : Load(acc + d) + x);
      }
    }
    Finish(g, t, row, acc, top, sum);
  }
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
