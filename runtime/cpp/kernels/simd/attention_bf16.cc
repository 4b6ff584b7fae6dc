// Prefill by vdpbf16ps: two channels, or two keys, an instruction. Keys that the cache holds as
// bf16 are read where they lie; probabilities are rounded, and their sum is that of the rounded.
#include "attention_prefill.h"
#include "bf16.h"
#include "bf16_pairs.h"
#include "gemm_tile.h"

namespace smelt {
namespace avx512 {
namespace {

struct PairProduct {
  static SMELT_INLINE_MEMBER Vf Add(Vf sum, Vf column, Vf x) { return Dot2(sum, column, x); }
};

// Element i: bf16 i of low, and of high above it.
SMELT_INLINE Vf Interleaved(Vf low, Vf high) {
  alignas(64) static constexpr uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                      21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                      11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const Vi both = AsInt(Rounded(low, high));
  return {_mm512_castsi512_ps(_mm512_permutexvar_epi16(_mm512_load_si512(kOrder), both.v))};
}

struct PairMath {
  static void Queries(const Geometry& g, const AttentionBlock& t, const Tiles& s) {
    const int64_t dim = g.a.dim;
    const Vf scale = Set1(g.a.scale);
    StoreQueries(s, s.size.dim / 2, [&](int64_t row, int64_t pair) {
      if (row >= g.rows) return Zero();
      const float* q = QueryRow(g, t, row) + 2 * pair;
      return Rounded(LoadN(q, Left(dim - 2 * pair)) * scale,
                     LoadN(q + 16, Left(dim - 2 * pair - 16)) * scale);
    });
  }

  // [key][channel pairs]
  static Operand Keys(const Geometry& g, const AttentionBlock& t, const Tiles& s, int64_t first,
                      int64_t count) {
    const KvView& view = g.a.k;
    const uint16_t* data = InPlace<uint16_t>(view, DType::kBf16, t, first, count);
    if (data != nullptr && g.a.dim % 16 == 0 && (view.token | view.head | view.batch) % 2 == 0)
      return {reinterpret_cast<const float*>(data), view.token / 2};
    alignas(64) float row[kWidest + 16] = {};
    const int64_t stride = s.size.dim / 2;
    for (int64_t j = 0; j < count; ++j) {
      KvLoadRow(view, t.row, t.kv_head, first + j, g.a.dim, row, true);
      for (int64_t d = 0; d < stride; d += 16) {
        const Vf pairs = Rounded(Load(row + 2 * d), Load(row + 2 * d + 16));
        StoreN(s.keys + j * stride + d, pairs, stride - d);
      }
    }
    return {s.keys, stride};
  }

  // [key pairs][channel]; the partner of a last odd key is zero, as its probability is.
  static Operand Values(const Geometry& g, const AttentionBlock& t, const Tiles& s, int64_t first,
                        int64_t count) {
    alignas(64) float rows[2][kWidest] = {};
    const int64_t width = s.size.value;
    for (int64_t j = 0; j < count; j += 2) {
      KvLoadRow(g.a.v, t.row, t.kv_head, first + j, g.a.value_dim, rows[0], true);
      if (j + 1 < count)
        KvLoadRow(g.a.v, t.row, t.kv_head, first + j + 1, g.a.value_dim, rows[1], true);
      else
        memset(rows[1], 0, sizeof rows[1]);
      for (int64_t d = 0; d < width; d += 16)
        Store(s.values + j / 2 * width + d, Interleaved(Load(rows[0] + d), Load(rows[1] + d)));
    }
    return {s.values, width};
  }

  static void Scores(const Geometry& g, const Tiles& s, Operand keys, int64_t count) {
    const int64_t lanes = s.size.lanes, pairs = CeilDiv(g.a.dim, 2);
    GemmOf<PairProduct>({keys.data, keys.stride, 1, s.query, lanes, pairs, s.scores, lanes, false},
                        count, lanes / 16);
  }

  // Pairs of keys take the place of the first half of the scores.
  static Vf Exponentials(float* scores, int64_t lanes, int64_t count, Vf base) {
    const Vf ones = AsFloat(SetI(0x3F803F80));
    Vf sum = Zero();
    for (int64_t j = 0; j < count; j += 2) {
      const float* p = scores + j * lanes;
      const Vf low = ExpBelow(Load(p) - base),
               high = j + 1 < count ? ExpBelow(Load(p + lanes) - base) : Zero();
      const Vf pairs = Interleaved(low, high);
      Store(scores + j / 2 * lanes, pairs);
      sum = Dot2(sum, pairs, ones);
    }
    return sum;
  }

  static void Add(const Geometry& g, const Tiles& s, Operand values, int64_t count) {
    GemmOf<PairProduct>({s.scores, 1, s.size.lanes, values.data, values.stride, CeilDiv(count, 2),
                         s.out, s.size.value, true},
                        g.rows, s.size.value / 16);
  }

 private:
  static constexpr int64_t kWidest = 512;
  static int64_t Left(int64_t n) { return n < 0 ? 0 : n; }
};

}  // namespace

void Bf16AttendBlock(const AttentionBlock& t) {
  if (!t.args->bf16) return AttendBlock(t);
  AttendBlockBy<PairMath>(t);
}

}  // namespace avx512
}  // namespace smelt
