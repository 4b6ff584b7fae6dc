// Linear attention of one instruction set: some columns of one head's matrix, token after token.
#include "rows.h"
#include "vmath.h"

namespace smelt {
namespace SMELT_ISA_NS {

void LinearAttentionColumns(const LinearAttentionArgs& a, int64_t b, int64_t head, int64_t first,
                            float* scratch) {
  // Columns do not depend on one another; these two vectors of them stay in the nearest cache.
  const int64_t n0 = a.width - first, n1 = n0 > 16 ? n0 - 16 : 0;
  const int64_t matrix = (b * a.heads + head) * a.dim * a.width + first;
  float* s = scratch;
  float* factors = scratch + a.dim * kMemoryColumns;
  for (int64_t i = 0; i < a.dim; ++i) {
    Store(s + i * kMemoryColumns, LoadN(a.before + matrix + i * a.width, n0));
    Store(s + i * kMemoryColumns + 16,
          n1 ? LoadN(a.before + matrix + i * a.width + 16, n1) : Zero());
  }
  for (int64_t t = 0; t < a.seq; ++t) {
    const int64_t token = b * a.seq + t, at = token * a.heads + head;
    const int64_t shared = (token * a.key_heads + head / (a.heads / a.key_heads)) * a.dim;
    const float *q = a.q + shared, *k = a.k + shared, *decay = a.decay + at * a.rates;
    if (a.rates == 1) {
      const Vf one = Exp(Set1(decay[0]));
      for (int64_t i = 0; i < a.dim; i += 16) Store(factors + i, one);
    } else {
      for (int64_t i = 0; i < a.dim; i += 16) Store(factors + i, Exp(LoadN(decay + i, a.dim - i)));
    }
    Vf known0 = Zero(), known1 = Zero();
    for (int64_t i = 0; i < a.dim; ++i) {
      float* line = s + i * kMemoryColumns;
      const Vf factor = Set1(factors[i]), key = Set1(k[i]);
      const Vf x0 = Load(line) * factor, x1 = Load(line + 16) * factor;
      Store(line, x0);
      Store(line + 16, x1);
      known0 = Fma(x0, key, known0);
      known1 = Fma(x1, key, known1);
    }
    const float* v = a.v + at * a.width + first;
    Vf learned0 = LoadN(v, n0), learned1 = n1 ? LoadN(v + 16, n1) : Zero();
    if (a.beta != nullptr) {
      const Vf beta = Set1(a.beta[at]);
      learned0 = (learned0 - known0) * beta;
      learned1 = (learned1 - known1) * beta;
    }
    Vf y0 = Zero(), y1 = Zero();
    for (int64_t i = 0; i < a.dim; ++i) {
      float* line = s + i * kMemoryColumns;
      const Vf key = Set1(k[i]), query = Set1(q[i]);
      const Vf x0 = Fma(learned0, key, Load(line)), x1 = Fma(learned1, key, Load(line + 16));
      Store(line, x0);
      Store(line + 16, x1);
      y0 = Fma(x0, query, y0);
      y1 = Fma(x1, query, y1);
    }
    float* y = a.y + at * a.width + first;
    StoreN(y, y0, n0 < 16 ? n0 : 16);
    if (n1) StoreN(y + 16, y1, n1 < 16 ? n1 : 16);
  }
  for (int64_t i = 0; i < a.dim; ++i) {
    float* out = a.state + matrix + i * a.width;
    StoreN(out, Load(s + i * kMemoryColumns), n0 < 16 ? n0 : 16);
    if (n1) StoreN(out + 16, Load(s + i * kMemoryColumns + 16), n1 < 16 ? n1 : 16);
  }
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
