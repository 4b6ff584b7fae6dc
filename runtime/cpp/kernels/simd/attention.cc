// Flash-style attention: scores exist one tile at a time, with a running maximum and sum for each row.
#include "attention.h"

#include <cmath>

#include "gemm.h"
#include "kv.h"
#include "vmath.h"

namespace smelt {
namespace SMELT_ISA_NS {
namespace {

struct Geometry {  // what a block's loops need again and again
  const AttentionArgs& a;
  int64_t group, rows, head0;
  explicit Geometry(const AttentionBlock& t)
      : a(*t.args), group(a.heads / a.kv_heads), rows((t.query_last - t.query_first) * group), head0(t.kv_head * group) {}
};

const float* QueryRow(const Geometry& g, const AttentionBlock& t, int64_t row) {
  const int64_t token = t.query_first + row / g.group, head = g.head0 + row % g.group;
  return g.a.q.data + t.b * g.a.q.batch + head * g.a.q.head + token * g.a.q.token;
}

const float* BiasRow(const Geometry& g, const AttentionBlock& t, int64_t row) {
  const int64_t token = t.query_first + row / g.group, head = g.head0 + row % g.group;
  return g.a.bias + t.b * g.a.bias_batch + head * g.a.bias_head + token * g.a.bias_query;
}

// Rows of f32 that can be read in place: one pointer and a stride; false when they must be converted or gathered.
bool InPlace(const KvView& view, const AttentionBlock& t, int64_t first, int64_t count, int64_t dim, const float** p) {
  if (view.dtype != DType::kF32 || dim % 16 != 0) return false;
  const int64_t slot = SlotOf(view, first);
  if (view.ring > 0 && slot + count > view.ring) return false;
  *p = static_cast<const float*>(view.data) + t.b * view.batch + t.kv_head * view.head + slot * view.token;
  return true;
}

void Convert(const KvView& view, const AttentionBlock& t, int64_t first, int64_t count, int64_t dim, int64_t stride,
             float* rows) {
  for (int64_t j = 0; j < count; ++j) KvLoadRow(view, t.b, t.kv_head, first + j, dim, rows + j * stride, true);
}

// out = acc / sum after the row's sink, if any; nothing allowed gives zeros.
void Finish(const Geometry& g, const AttentionBlock& t, int64_t row, const float* acc, float top, float sum) {
  const int64_t token = t.query_first + row / g.group, head = g.head0 + row % g.group;
  float* out = g.a.out.data + t.b * g.a.out.batch + head * g.a.out.head + token * g.a.out.token;
  float keep = 1.0f;
  if (g.a.sinks != nullptr) {
    const float sink = g.a.sinks[head], most = sink > top ? sink : top;
    keep = top == -INFINITY ? 0.0f : expf(top - most);
    sum = sum * keep + expf(sink - most);
  }
  const Vf scale = Set1(sum > 0.0f ? keep / sum : 0.0f);
  for (int64_t d = 0; d < g.a.value_dim; d += 16) StoreN(out + d, Load(acc + d) * scale, g.a.value_dim - d);
}

Vf SoftCap(Vf s, float cap) { return Set1(cap) * Tanh(s * Set1(1.0f / cap)); }

bool Masked(const Geometry& g, const AttentionBlock& t, int64_t key) {
  return g.a.mask != nullptr && g.a.mask[t.b * g.a.mask_batch + key] == 0;
}

}  // namespace

// ---- prefill: scores as [key][row], so that the softmax runs along whole vectors of rows --------------------------

namespace {

struct Tiles {
  BlockSizes size;
  float *query, *scores, *out, *keys, *values, *top, *sum, *fade, *first, *last;
  Tiles(const AttentionBlock& t, int64_t rows) : size(PrefillSizes(*t.args, rows)) {
    query = t.scratch;
    scores = query + size.query;
    out = scores + size.scores;
    keys = out + size.out;
    values = keys + size.keys;
    top = values + size.values;
    sum = top + size.lanes;
    fade = sum + size.lanes;
    first = fade + size.lanes;
    last = first + size.lanes;
  }
};

void LoadQueries(const Geometry& g, const AttentionBlock& t, const Tiles& s) {
  const int64_t lanes = s.size.lanes;
  for (int64_t row = 0; row < lanes; ++row) {
    const float* q = row < g.rows ? QueryRow(g, t, row) : nullptr;
    for (int64_t d = 0; d < g.a.dim; ++d) s.query[d * lanes + row] = q != nullptr ? q[d] * g.a.scale : 0.0f;
    s.top[row] = -INFINITY;
    s.sum[row] = 0.0f;
  }
  memset(s.out, 0, static_cast<size_t>(s.size.out) * 4);
}

// Where each row's keys begin and end, counted from the tile's first key; false when every row sees the whole tile.
bool RowBounds(const Geometry& g, const AttentionBlock& t, const Tiles& s, int64_t key, int64_t count) {
  bool cut = false;
  for (int64_t row = 0; row < s.size.lanes; ++row) {
    const KeyRange r = row < g.rows ? KeysOf(g.a, t.query_first + row / g.group) : KeyRange{key, key + count};
    const int64_t first = r.first - key, last = r.last - key;
    s.first[row] = static_cast<float>(first < 0 ? 0 : first > count ? count : first);
    s.last[row] = static_cast<float>(last < 0 ? 0 : last > count ? count : last);
    cut = cut || first > 0 || last < count;
  }
  return cut;
}

// Soft cap, bias, masks; scores [count][lanes].
void Adjust(const Geometry& g, const AttentionBlock& t, const Tiles& s, int64_t key, int64_t count) {
  const int64_t lanes = s.size.lanes;
  if (g.a.softcap > 0.0f) {
    for (int64_t i = 0; i < count * lanes; i += 16) Store(s.scores + i, SoftCap(Load(s.scores + i), g.a.softcap));
  }
  if (g.a.bias != nullptr) {
    for (int64_t row = 0; row < g.rows; ++row) {
      const float* bias = BiasRow(g, t, row) + key;
      for (int64_t j = 0; j < count; ++j) s.scores[j * lanes + row] += bias[j];
    }
  }
  const Vf never = Set1(-INFINITY);
  const bool cut = RowBounds(g, t, s, key, count);
  for (int64_t j = 0; j < count; ++j) {
    float* scores = s.scores + j * lanes;
    if (Masked(g, t, key + j)) {
      for (int64_t v = 0; v < lanes; v += 16) Store(scores + v, never);
    } else if (cut) {
      const Vf at = Set1(static_cast<float>(j));
      for (int64_t v = 0; v < lanes; v += 16) {
        const Vf x = IfLess(at, Load(s.last + v), Load(scores + v), never);
        Store(scores + v, IfLess(at, Load(s.first + v), never, x));
      }
    }
  }
}

// scores become probabilities relative to the running maximum; earlier sums and outputs fade accordingly.
void SoftmaxTile(const Geometry& g, const Tiles& s, int64_t count) {
  const int64_t lanes = s.size.lanes;
  bool faded = false;
  for (int64_t v = 0; v < lanes; v += 16) {
    const Vf old = Load(s.top + v);
    Vf top = old;
    for (int64_t j = 0; j < count; ++j) top = Max(Load(s.scores + j * lanes + v), top);
    const Vf base = IfLess(Set1(-INFINITY), top, top, Zero());
    Vf sum = Zero();
    for (int64_t j = 0; j < count; ++j) {
      float* p = s.scores + j * lanes + v;
      const Vf e = Exp(Load(p) - base);
      Store(p, e);
      sum = sum + e;
    }
    const Vf fade = Exp(old - base);
    Store(s.sum + v, Fma(Load(s.sum + v), fade, sum));
    Store(s.top + v, top);
    Store(s.fade + v, fade);
    faded = faded || ReduceAdd(IfLess(fade, Set1(1.0f), Set1(1.0f), Zero())) > 0.0f;
  }
  if (!faded) return;
  for (int64_t row = 0; row < g.rows; ++row) {
    const Vf fade = Set1(s.fade[row]);
    float* out = s.out + row * s.size.value;
    for (int64_t d = 0; d < s.size.value; d += 16) Store(out + d, Load(out + d) * fade);
  }
}

}  // namespace

void AttendBlock(const AttentionBlock& t) {
  const Geometry g(t);
  const Tiles s(t, g.rows);
  LoadQueries(g, t, s);
  for (int64_t key = t.key_first / kKeyTile * kKeyTile; key < t.key_last; key += kKeyTile) {
    const int64_t from = key < t.key_first ? t.key_first : key;
    const int64_t count = (key + kKeyTile < t.key_last ? key + kKeyTile : t.key_last) - from;
    const float *keys = s.keys, *values = s.values;
    int64_t key_stride = s.size.dim, value_stride = s.size.value;
    if (InPlace(g.a.k, t, from, count, g.a.dim, &keys)) key_stride = g.a.k.token;
    else Convert(g.a.k, t, from, count, g.a.dim, key_stride, s.keys);
    if (InPlace(g.a.v, t, from, count, g.a.value_dim, &values)) value_stride = g.a.v.token;
    else Convert(g.a.v, t, from, count, g.a.value_dim, value_stride, s.values);
    Gemm(keys, key_stride, 1, s.query, s.size.lanes, g.a.dim, count, s.size.lanes / 16, s.scores, s.size.lanes, false);
    Adjust(g, t, s, from, count);
    SoftmaxTile(g, s, count);
    Gemm(s.scores, 1, s.size.lanes, values, value_stride, count, g.rows, s.size.value / 16, s.out, s.size.value, true);
  }
  for (int64_t row = 0; row < g.rows; ++row) Finish(g, t, row, s.out + row * s.size.value, s.top[row], s.sum[row]);
}

// ---- decode: few rows, a chunk of the keys; scores as [row][key] ---------------------------------------------------

namespace {

// scores[row][0, 16) = q(row) · each of 16 keys; pointers past the last key repeat it.
void DotKeys(const float* query, int64_t rows, int64_t dim, const float* keys, int64_t stride, int64_t count,
             float* scores, int64_t scores_stride) {
  for (int64_t row = 0; row < rows; ++row) {
    const float* q = query + row * dim;
    Vf sum[16];
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) sum[j] = Zero();
    if (count == 16) {
      for (int64_t d = 0; d < dim; d += 16) {
        const Vf x = Load(q + d);
#pragma GCC unroll 16
        for (int j = 0; j < 16; ++j) sum[j] = Fma(x, Load(keys + j * stride + d), sum[j]);
      }
    } else {
      for (int64_t j = 0; j < count; ++j) {
        Vf one = Zero();
        for (int64_t d = 0; d < dim; d += 16) one = Fma(Load(q + d), Load(keys + j * stride + d), one);
        sum[j] = one;
      }
    }
    Store(scores + row * scores_stride, ReduceRows(sum));
  }
}

}  // namespace

void AttendChunk(const AttentionBlock& t) {
  const Geometry g(t);
  const int64_t count = t.key_last - t.key_first;
  const BlockSizes size = DecodeSizes(g.a, g.rows, count);
  float* query = t.scratch;
  float* scores = query + size.query;
  float* key_rows = scores + size.scores;
  float* value_rows = key_rows + size.keys;
  float* out = t.partial;
  float* tops = out + g.rows * size.value;
  float* sums = tops + g.rows;
  for (int64_t row = 0; row < g.rows; ++row) {
    const float* q = QueryRow(g, t, row);
    for (int64_t d = 0; d < size.dim; d += 16) Store(query + row * size.dim + d, LoadN(q + d, g.a.dim > d ? g.a.dim - d : 0) * Set1(g.a.scale));
  }
  for (int64_t j = 0; j < count; j += 16) {
    const int64_t n = count - j < 16 ? count - j : 16;
    const float* keys = key_rows;
    int64_t stride = size.dim;
    if (InPlace(g.a.k, t, t.key_first + j, n, g.a.dim, &keys)) stride = g.a.k.token;
    else Convert(g.a.k, t, t.key_first + j, n, g.a.dim, stride, key_rows);
    DotKeys(query, g.rows, size.dim, keys, stride, n, scores + j, size.lanes);
  }
  for (int64_t row = 0; row < g.rows; ++row) {
    float* s = scores + row * size.lanes;
    if (g.a.softcap > 0.0f) {
      for (int64_t j = 0; j < size.lanes; j += 16) Store(s + j, SoftCap(Load(s + j), g.a.softcap));
    }
    const KeyRange r = KeysOf(g.a, t.query_first + row / g.group);
    const float* bias = g.a.bias != nullptr ? BiasRow(g, t, row) + t.key_first : nullptr;
    for (int64_t j = 0; bias != nullptr && j < count; ++j) s[j] += bias[j];
    for (int64_t j = 0; j < r.first - t.key_first && j < count; ++j) s[j] = -INFINITY;
    for (int64_t j = r.last > t.key_first ? r.last - t.key_first : 0; j < size.lanes; ++j) s[j] = -INFINITY;
    for (int64_t j = count; j < size.lanes; ++j) s[j] = -INFINITY;
    for (int64_t j = 0; g.a.mask != nullptr && j < count; ++j) {
      if (Masked(g, t, t.key_first + j)) s[j] = -INFINITY;
    }
    Vf most = Set1(-INFINITY);
    for (int64_t j = 0; j < size.lanes; j += 16) most = Max(Load(s + j), most);
    const float top = ReduceMax(most);
    const Vf base = Set1(top == -INFINITY ? 0.0f : top);
    Vf sum = Zero();
    for (int64_t j = 0; j < size.lanes; j += 16) {
      const Vf e = Exp(Load(s + j) - base);
      Store(s + j, e);
      sum = sum + e;
    }
    tops[row] = top;
    sums[row] = ReduceAdd(sum);
  }
  for (int64_t j = 0; j < count; j += kKeyTile) {
    const int64_t n = count - j < kKeyTile ? count - j : kKeyTile;
    const float* values = value_rows;
    int64_t stride = size.value;
    if (InPlace(g.a.v, t, t.key_first + j, n, g.a.value_dim, &values)) stride = g.a.v.token;
    else Convert(g.a.v, t, t.key_first + j, n, g.a.value_dim, stride, value_rows);
    Gemm(scores + j, size.lanes, 1, values, stride, n, g.rows, size.value / 16, out, size.value, j > 0);
  }
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
