// Flash-style attention for prefill: scores exist one tile at a time, with a running maximum and
// sum for each row. They lie as [key][row], so that the softmax runs along whole vectors of rows.
//
// `Math` is how products are computed, and how what they read lies, in elements of 32 bits:
//   Queries       the block's queries, scaled, as [channels][row]
//   Keys, Values  a tile of either, where they lie or as copied
//   Scores, Add   scores [key][row] = keys · queries; outputs [row][channel] += scores · values
//   Exponentials  of 16 rows' scores above their maximum, in place, and their sum
#pragma once

#include "attention_block.h"

namespace smelt {
namespace SMELT_ISA_NS {

struct Operand {
  const float* data;
  int64_t stride;
};

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

// part(i, d): 16 elements of row i from channel d of the kernel's order; `width` of them.
template <typename Part>
void StoreQueries(const Tiles& s, int64_t width, const Part& part) {
  for (int64_t row = 0; row < s.size.lanes; row += 4) {
    for (int64_t d = 0; d < width; d += 16) {
      const Vf rows[4] = {part(row, d), part(row + 1, d), part(row + 2, d), part(row + 3, d)};
      StoreColumnsN(rows, s.query + d * s.size.lanes + row, s.size.lanes, width - d);
    }
  }
}

// Where each row's keys begin and end, counted from the tile's first key; false when every row sees
// the whole tile.
static inline bool RowBounds(const Geometry& g, const AttentionBlock& t, const Tiles& s,
                             int64_t key, int64_t count) {
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
static inline void Adjust(const Geometry& g, const AttentionBlock& t, const Tiles& s, int64_t key,
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
template <typename Math>
void SoftmaxTile(const Geometry& g, const Tiles& s, int64_t count) {
  const int64_t lanes = s.size.lanes;
  bool faded = false;
  for (int64_t v = 0; v < lanes; v += 16) {
    const Vf old = Load(s.top + v);
    Vf top = old;
    for (int64_t j = 0; j < count; ++j) top = Max(Load(s.scores + j * lanes + v), top);
    const Vf base = IfLess(Set1(-INFINITY), top, top, Zero());
    const Vf sum = Math::Exponentials(s.scores + v, lanes, count, base);
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

template <typename Math>
void AttendBlockBy(const AttentionBlock& t) {
  const Geometry g(t);
  const Tiles s(t, g.rows);
  for (int64_t row = 0; row < s.size.lanes; ++row) {
    s.top[row] = -INFINITY;
    s.sum[row] = 0.0f;
  }
  memset(s.out, 0, static_cast<size_t>(s.size.out) * 4);
  Math::Queries(g, t, s);
  for (int64_t key = t.key_first / kKeyTile * kKeyTile; key < t.key_last; key += kKeyTile) {
    const int64_t from = key < t.key_first ? t.key_first : key;
    const int64_t count = (key + kKeyTile < t.key_last ? key + kKeyTile : t.key_last) - from;
    const Operand keys = Math::Keys(g, t, s, from, count);
    const Operand values = Math::Values(g, t, s, from, count);
    Math::Scores(g, s, keys, count);
    Adjust(g, t, s, from, count);
    SoftmaxTile<Math>(g, s, count);
    Math::Add(g, s, values, count);
  }
  for (int64_t row = 0; row < g.rows; ++row)
    Finish(g, t, row, s.out + row * s.size.value, s.top[row], s.sum[row]);
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
