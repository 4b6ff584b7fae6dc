// Prefill by f32 products, and the end of every attention.
#include "attention_prefill.h"

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

struct FloatMath {
  static void Queries(const Geometry& g, const AttentionBlock& t, const Tiles& s) {
    StoreQueries(s, g.a.dim, [&](int64_t row, int64_t d) {
      return row < g.rows ? QueryPart(g, QueryRow(g, t, row) + d, g.a.dim - d) : Zero();
    });
  }
  static Operand Keys(const Geometry& g, const AttentionBlock& t, const Tiles& s, int64_t first,
                      int64_t count) {
    return Rows(g.a.k, t, first, count, g.a.dim, s.size.dim, s.keys);
  }
  static Operand Values(const Geometry& g, const AttentionBlock& t, const Tiles& s, int64_t first,
                        int64_t count) {
    return Rows(g.a.v, t, first, count, g.a.value_dim, s.size.value, s.values);
  }
  static void Scores(const Geometry& g, const Tiles& s, Operand keys, int64_t count) {
    Gemm(keys.data, keys.stride, 1, s.query, s.size.lanes, g.a.dim, count, s.size.lanes / 16,
         s.scores, s.size.lanes, false);
  }
  static Vf Exponentials(float* scores, int64_t lanes, int64_t count, Vf base) {
    Vf sum = Zero();
    for (int64_t j = 0; j < count; ++j, scores += lanes) {
      const Vf e = ExpBelow(Load(scores) - base);
      Store(scores, e);
      sum = sum + e;
    }
    return sum;
  }
  static void Add(const Geometry& g, const Tiles& s, Operand values, int64_t count) {
    Gemm(s.scores, 1, s.size.lanes, values.data, values.stride, count, g.rows, s.size.value / 16,
         s.out, s.size.value, true);
  }

 private:
  // In place where that can be, else converted.
  static Operand Rows(const KvView& view, const AttentionBlock& t, int64_t first, int64_t count,
                      int64_t dim, int64_t stride, float* rows) {
    const float* data = InPlace<float>(view, DType::kF32, t, first, count);
    if (data != nullptr && dim % 16 == 0 && !t.args->bf16) return {data, view.token};
    Convert(view, t, first, count, dim, stride, rows);
    return {rows, stride};
  }
};

}  // namespace

void AttendBlock(const AttentionBlock& t) { AttendBlockBy<FloatMath>(t); }

}  // namespace SMELT_ISA_NS
}  // namespace smelt
