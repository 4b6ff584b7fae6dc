// Flash-style attention for prefill: scores exist one tile at a time, with a running maximum and
// sum for each row. They lie as [key][row], so that the softmax runs along whole vectors of rows.
#include "attention_block.h"

namespace smelt {
namespace SMELT_ISA_NS {

// out = acc / sum after the row's sink, if any; nothing allowed gives zeros.
void Finish(const Geometry& g, const AttentionBlock& t, int64_t row, const float* acc, float top,
            float sum) {
  const int64_t token = t.query_first + row / g.group, head = g.head0 + row % g.group;
  float* out = g.a.out.data + t.b * g.a.out.batch + head * g.a.out.head + token * g.a.out.token;
  float keep = 1.0f;
  if (g.a.sinks != nullptr) {
    const float sink = g.a.sinks[head], most = sink > top ? sink : top;
    keep = top == -INFINITY ? 0.0f : expf(top - most);
    sum = sum * keep + expf(sink - most);
  }
  const Vf scale = Set1(sum > 0.0f ? keep / sum : 0.0f);
  for (int64_t d = 0; d < g.a.value_dim; d += 16)
    StoreN(out + d, Load(acc + d) * scale, g.a.value_dim - d);
}

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
  const int64_t lanes = s.size.lanes, dim = g.a.dim;
  const Vf scale = Set1(g.a.scale);
  for (int64_t row = 0; row < lanes; row += 4) {
    const float* q[4];
    for (int i = 0; i < 4; ++i) {
      q[i] = row + i < g.rows ? QueryRow(g, t, row + i) : nullptr;
      s.top[row + i] = -INFINITY;
      s.sum[row + i] = 0.0f;
    }
    for (int64_t d = 0; d < dim; d += 16) {
      Vf rows[4];
      for (int i = 0; i < 4; ++i)
        rows[i] = q[i] != nullptr ? LoadN(q[i] + d, dim - d) * scale : Zero();
      StoreColumnsN(rows, s.query + d * lanes + row, lanes, dim - d);
    }
  }
  memset(s.out, 0, static_cast<size_t>(s.size.out) * 4);
}

// Where each row's keys begin and end, counted from the tile's first key; false when every row sees
// the whole tile.
bool RowBounds(const Geometry& g, const AttentionBlock& t, const Tiles& s, int64_t key,
               int64_t count) {
  if (!g.a.causal && g.a.window == 0 && g.a.k.ring == 0) return false;
  bool cut = false;
  for (int64_t row = 0; row < s.size.lanes; ++row) {
    const KeyRange r =
        row < g.rows ? KeysOf(g.a, t.b, t.query_first + row / g.group) : KeyRange{key, key + count};
    const int64_t first = r.first - key, last = r.last - key;
    s.first[row] = static_cast<float>(first < 0 ? 0 : first > count ? count : first);
    s.last[row] = static_cast<float>(last < 0 ? 0 : last > count ? count : last);
    cut = cut || first > 0 || last < count;
  }
  return cut;
}

// Soft cap, bias, masks; scores [count][lanes].
void Adjust(const Geometry& g, const AttentionBlock& t, const Tiles& s, int64_t key,
            int64_t count) {
  const int64_t lanes = s.size.lanes;
  if (g.a.softcap > 0.0f) {
    for (int64_t i = 0; i < count * lanes; i += 16)
      Store(s.scores + i, SoftCap(Load(s.scores + i), g.a.softcap));
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

// scores become probabilities relative to the running maximum; earlier sums and outputs fade
// accordingly.
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
      const Vf e = ExpBelow(Load(p) - base);
      Store(p, e);
      sum = sum + e;
    }
    const Vf fade = ExpBelow(old - base);
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
    if (InPlace(g.a.k, t, from, count, g.a.dim, &keys))
      key_stride = g.a.k.token;
    else
      Convert(g.a.k, t, from, count, g.a.dim, key_stride, s.keys);
    if (InPlace(g.a.v, t, from, count, g.a.value_dim, &values))
      value_stride = g.a.v.token;
    else
      Convert(g.a.v, t, from, count, g.a.value_dim, value_stride, s.values);
    Gemm(keys, key_stride, 1, s.query, s.size.lanes, g.a.dim, count, s.size.lanes / 16, s.scores,
         s.size.lanes, false);
    Adjust(g, t, s, from, count);
    SoftmaxTile(g, s, count);
    Gemm(s.scores, 1, s.size.lanes, values, value_stride, count, g.rows, s.size.value / 16, s.out,
         s.size.value, true);
  }
  for (int64_t row = 0; row < g.rows; ++row)
    Finish(g, t, row, s.out + row * s.size.value, s.top[row], s.sum[row]);
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
