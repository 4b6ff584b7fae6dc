#include "rows.h"

#include <cmath>

#include "vmath.h"

namespace smelt {
namespace SMELT_ISA_NS {
namespace {

// Calls f(i, n) for each vector of 16 (n = elements left), and stores its result.
template <typename F>
SMELT_INLINE void Each(int64_t count, float* y, const F& f) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) Store(y + i, f(i, 16));
  if (i < count) StoreN(y + i, f(i, count - i), count - i);
}

template <typename F>
SMELT_INLINE Vf SumOver(int64_t count, const F& f) {
  Vf sum[2] = {Zero(), Zero()};
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    sum[0] = sum[0] + f(i, 16);
    sum[1] = sum[1] + f(i + 16, 16);
  }
  for (; i < count; i += 16) sum[0] = sum[0] + f(i, count - i);
  return sum[0] + sum[1];
}

// The row to normalize: x itself, or x + add, which is also written to sum.
const float* Joined(const NormArgs& a, int64_t row) {
  const float* x = a.x + row * a.dim;
  if (a.add == nullptr) return x;
  const float* add = a.add + row * a.dim;
  float* sum = a.sum + row * a.dim;
  Each(a.dim, sum, [&](int64_t i, int64_t n) { return LoadN(x + i, n) + LoadN(add + i, n); });
  return sum;
}

}  // namespace

void RmsNormRows(const NormArgs& a, int64_t row_first, int64_t row_last) {
  for (int64_t row = row_first; row < row_last; ++row) {
    const float* x = Joined(a, row);
    const Vf squares = SumOver(a.dim, [&](int64_t i, int64_t n) {
      const Vf v = LoadN(x + i, n);
      return v * v;
    });
    const Vf scale = Set1(1.0f / std::sqrt(ReduceAdd(squares) / static_cast<float>(a.dim) + a.eps));
    const Vf offset = Set1(a.offset);
    Each(a.dim, a.y + row * a.dim, [&](int64_t i, int64_t n) {
      const Vf v = LoadN(x + i, n) * scale;
      return a.weight == nullptr ? v : v * (LoadN(a.weight + i, n) + offset);
    });
  }
}

void LayerNormRows(const NormArgs& a, int64_t row_first, int64_t row_last) {
  const float inverse = 1.0f / static_cast<float>(a.dim);
  for (int64_t row = row_first; row < row_last; ++row) {
    const float* x = Joined(a, row);
    const float mean =
        ReduceAdd(SumOver(a.dim, [&](int64_t i, int64_t n) { return LoadN(x + i, n); })) * inverse;
    const Vf center = Set1(mean);
    float squares = 0.0f;
    {
      const int64_t whole = a.dim / 16 * 16;
      Vf sum = SumOver(whole, [&](int64_t i, int64_t) {
        const Vf v = Load(x + i) - center;
        return v * v;
      });
      squares = ReduceAdd(sum);
      for (int64_t i = whole; i < a.dim; ++i) squares += (x[i] - mean) * (x[i] - mean);
    }
    const Vf scale = Set1(1.0f / std::sqrt(squares * inverse + a.eps)), offset = Set1(a.offset);
    Each(a.dim, a.y + row * a.dim, [&](int64_t i, int64_t n) {
      Vf v = (LoadN(x + i, n) - center) * scale;
      if (a.weight != nullptr) v = v * (LoadN(a.weight + i, n) + offset);
      return a.bias != nullptr ? v + LoadN(a.bias + i, n) : v;
    });
  }
}

void SoftmaxRows(const float* x, int64_t rows, int64_t dim, float* y) {
  for (int64_t row = 0; row < rows; ++row, x += dim, y += dim) {
    const Vf lowest = Set1(-INFINITY);
    Vf top = lowest;
    int64_t i = 0;
    for (; i + 16 <= dim; i += 16) top = Max(Load(x + i), top);
    float most = ReduceMax(top);
    for (; i < dim; ++i) most = x[i] > most ? x[i] : most;
    if (most == -INFINITY) most = 0.0f;  // nothing is allowed: all zeros below, no NaN
    float sum = 0.0f;
    Vf sums = Zero();
    for (i = 0; i + 16 <= dim; i += 16) {
      const Vf e = Exp(Load(x + i) - Set1(most));
      Store(y + i, e);
      sums = sums + e;
    }
    sum = ReduceAdd(sums);
    if (i < dim) {
      StoreN(y + i, Exp(LoadN(x + i, dim - i) - Set1(most)), dim - i);
      for (; i < dim; ++i) sum += y[i];
    }
    const Vf scale = Set1(sum > 0.0f ? 1.0f / sum : 0.0f);
    Each(dim, y, [&](int64_t j, int64_t n) { return LoadN(y + j, n) * scale; });
  }
}

void ActivateRange(Activation act, const float* x, int64_t count, float* y) {
  Each(count, y, [&](int64_t i, int64_t n) { return Act(act, LoadN(x + i, n)); });
}

void GatedRange(Activation act, const float* gate, const float* up, int64_t count, float* y) {
  Each(count, y,
       [&](int64_t i, int64_t n) { return Act(act, LoadN(gate + i, n)) * LoadN(up + i, n); });
}

void UnaryRange(Unary op, const float* x, int64_t count, float* y) {
  const auto vector = [&](auto f) {
    Each(count, y, [&](int64_t i, int64_t n) { return f(LoadN(x + i, n)); });
  };
  const auto scalar = [&](auto f) {
    for (int64_t i = 0; i < count; ++i) y[i] = f(x[i]);
  };
  switch (op) {
    case Unary::kExp:
      return vector([](Vf v) { return Exp(v); });
    case Unary::kSqrt:
      return vector([](Vf v) { return Sqrt(v); });
    case Unary::kRsqrt:
      return vector([](Vf v) { return Set1(1.0f) / Sqrt(v); });
    case Unary::kNeg:
      return vector([](Vf v) { return v * Set1(-1.0f); });
    case Unary::kAbs:
      return vector([](Vf v) { return Abs(v); });
    case Unary::kSoftplus:
      return vector([](Vf v) { return Softplus(v); });
    case Unary::kErf:
      return vector([](Vf v) { return Erf(v); });
    case Unary::kReciprocal:
      return vector([](Vf v) { return Set1(1.0f) / v; });
    case Unary::kSquare:
      return vector([](Vf v) { return v * v; });
    case Unary::kLog:
      return scalar([](float v) { return logf(v); });
    case Unary::kSin:
      return scalar([](float v) { return sinf(v); });
    case Unary::kCos:
      return scalar([](float v) { return cosf(v); });
  }
}

void BinaryRange(Binary op, const float* a, int64_t a_col, const float* b, int64_t b_col,
                 int64_t count, float* y) {
  const auto left = [&](int64_t i, int64_t n) { return a_col != 0 ? LoadN(a + i, n) : Set1(a[0]); };
  const auto right = [&](int64_t i, int64_t n) {
    return b_col != 0 ? LoadN(b + i, n) : Set1(b[0]);
  };
  const auto vector = [&](auto f) {
    Each(count, y, [&](int64_t i, int64_t n) { return f(left(i, n), right(i, n)); });
  };
  switch (op) {
    case Binary::kAdd:
      return vector([](Vf p, Vf q) { return p + q; });
    case Binary::kSub:
      return vector([](Vf p, Vf q) { return p - q; });
    case Binary::kMul:
      return vector([](Vf p, Vf q) { return p * q; });
    case Binary::kDiv:
      return vector([](Vf p, Vf q) { return p / q; });
    case Binary::kMax:
      return vector([](Vf p, Vf q) { return Max(p, q); });
    case Binary::kMin:
      return vector([](Vf p, Vf q) { return Min(p, q); });
    case Binary::kPow:
      for (int64_t i = 0; i < count; ++i) y[i] = powf(a[i * a_col], b[i * b_col]);
      return;
  }
}

void RopeToken(const RopeArgs& r, int64_t b, int64_t token) {
  const int64_t half = r.rotary / 2;
  const float* cos = r.cos + b * r.table_batch + token * r.table_token;
  const float* sin = r.sin + b * r.table_batch + token * r.table_token;
  for (int64_t h = 0; h < r.heads; ++h) {
    const float* x = r.x.data + b * r.x.batch + h * r.x.head + token * r.x.token;
    float* y = r.y.data + b * r.y.batch + h * r.y.head + token * r.y.token;
    if (r.interleaved) {
      for (int64_t i = 0; i < half; ++i) {
        const float p = x[2 * i], q = x[2 * i + 1];
        y[2 * i] = p * cos[i] - q * sin[i];
        y[2 * i + 1] = q * cos[i] + p * sin[i];
      }
    } else {
      for (int64_t i = 0; i < half; i += 16) {
        const int64_t n = half - i;
        const Vf p = LoadN(x + i, n), q = LoadN(x + half + i, n), c = LoadN(cos + i, n),
                 s = LoadN(sin + i, n);
        StoreN(y + i, p * c - q * s, n);
        StoreN(y + half + i, q * c + p * s, n);
      }
    }
    if (y != x) memcpy(y + r.rotary, x + r.rotary, static_cast<size_t>(r.dim - r.rotary) * 4);
  }
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
