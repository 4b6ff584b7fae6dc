// Arithmetic, comparison and logic on single elements. f32 goes to the vector kernels where its
// layout allows; integers wrap around and never trap.
#include <cmath>

#include "ops/loop.h"
#include "ops/ops.h"

namespace smelt {

namespace ops {
namespace {

bool IsNumber(const View& v) {
  return v.elem == Elem::kF32 || v.elem == Elem::kI64 || v.elem == Elem::kI32;
}

// Integers as two's complement, where every operation has a result.
template <typename T>
using Wrapping = std::make_unsigned_t<T>;

template <typename F>
Status FloatUnary(const Call& c, const F& f) {
  Map<float, float>(c, f);
  return Status();
}

Status Vector(const Call& c, Unary op) {
  const View &x = *c.in[0], &y = *c.out[0];
  if (x.contiguous && y.contiguous) {
    ApplyUnary(*c.exec, op, x.f32(), x.count, y.f32());
    return Status();
  }
  const View* const views[2] = {&y, &x};
  const Loop<2> loop = JoinAxes(views);
  const int64_t so = loop.strides[0][loop.rank - 1], sx = loop.strides[1][loop.rank - 1];
  Exec single = *c.exec;
  single.pool = nullptr;
  ForEachRow(*c.exec, loop, [&](const int64_t* at, int64_t n) {
    const float* from = x.f32() + at[1];
    float* to = y.f32() + at[0];
    if (so == 1 && sx == 1) return ApplyUnary(single, op, from, n, to);
    for (int64_t i = 0; i < n; ++i) ApplyUnary(single, op, from + i * sx, 1, to + i * so);
  });
  return Status();
}

Status VectorActivate(const Call& c, Activation act) {
  const View &x = *c.in[0], &y = *c.out[0];
  if (x.contiguous && y.contiguous) {
    Activate(*c.exec, act, x.f32(), x.count, y.f32());
    return Status();
  }
  return FloatUnary(c, [act](float v) {
    return act == Activation::kTanh ? std::tanh(v) : 1.0f / (1.0f + std::exp(-v));
  });
}

// True when the kernel's form fits: one or two joined axes, a dense output.
bool TryVector(const Call& c, Binary op) {
  const View* const views[3] = {c.out[0], c.in[0], c.in[1]};
  if (c.out[0]->elem != Elem::kF32 || !c.out[0]->contiguous) return false;
  const Loop<3> loop = JoinAxes(views);
  if (loop.rank > 2) return false;
  const int last = loop.rank - 1;
  const int64_t rows = loop.rank == 2 ? loop.dims[0] : 1;
  int64_t row[3] = {}, col[3] = {};
  for (int v = 1; v < 3; ++v) {
    col[v] = loop.strides[v][last];
    row[v] = loop.rank == 2 ? loop.strides[v][0] : 0;
    if (col[v] > 1) return false;
  }
  ApplyBinary(*c.exec, op, c.in[0]->f32(), row[1], col[1], c.in[1]->f32(), row[2], col[2], rows,
              loop.dims[last], c.out[0]->f32());
  return true;
}

template <typename F, typename I>
Status Arithmetic(const Call& c, const F& floats, const I& integers) {
  if (c.out[0]->elem == Elem::kF32) {
    Map2<float, float>(c, floats);
  } else if (c.out[0]->elem == Elem::kI64) {
    Map2<int64_t, int64_t>(c, integers);
  } else {
    Map2<int32_t, int32_t>(c, integers);
  }
  return Status();
}

template <typename F>
Status Compare(const Call& c, const F& f) {
  switch (c.in[0]->elem) {
    case Elem::kF32:
      Map2<uint8_t, float>(c, f);
      break;
    case Elem::kI64:
      Map2<uint8_t, int64_t>(c, f);
      break;
    case Elem::kI32:
      Map2<uint8_t, int32_t>(c, f);
      break;
    default:
      Map2<uint8_t, uint8_t>(c, [&f](uint8_t a, uint8_t b) { return f(a != 0, b != 0); });
  }
  return Status();
}

template <typename T>
T IntegerPower(T base, T exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  Wrapping<T> result = 1, factor = static_cast<Wrapping<T>>(base);
  for (; exponent; exponent /= 2) {
    if (exponent % 2) result *= factor;
    factor *= factor;
  }
  return static_cast<T>(result);
}

// Rounds down; division by zero gives 0, and the one quotient that overflows wraps.
template <typename T>
T FloorQuotient(T a, T b) {
  if (b == 0) return 0;
  if (b == -1) return static_cast<T>(-static_cast<Wrapping<T>>(a));
  const T q = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

template <typename T>
T FloorRemainder(T a, T b) {
  if (b == 0 || b == -1) return 0;
  const T r = a % b;
  return (r != 0 && (r < 0) != (b < 0)) ? r + b : r;
}

}  // namespace

Status CheckUnary(const Call& c) {
  return Want(
      IsNumber(*c.in[0]) && c.in[0]->elem == c.out[0]->elem && SameDims(*c.in[0], *c.out[0]),
      "operand and result differ");
}

Status CheckFloatUnary(const Call& c) {
  return Want(
      c.in[0]->elem == Elem::kF32 && c.out[0]->elem == Elem::kF32 && SameDims(*c.in[0], *c.out[0]),
      "operand and result are not f32 of one shape");
}

Status CheckBinary(const Call& c) {
  const View &a = *c.in[0], &b = *c.in[1], &y = *c.out[0];
  return Want(IsNumber(a) && a.elem == b.elem && a.elem == y.elem && Spreads(a, y) && Spreads(b, y),
              "operands do not spread to the result");
}

Status CheckCompare(const Call& c) {
  const View &a = *c.in[0], &b = *c.in[1], &y = *c.out[0];
  return Want((IsNumber(a) || a.elem == Elem::kBool) && a.elem == b.elem && y.elem == Elem::kBool &&
                  Spreads(a, y) && Spreads(b, y),
              "operands do not compare to the result");
}

Status CheckLogic(const Call& c) {
  const View &a = *c.in[0], &b = *c.in[1], &y = *c.out[0];
  return Want(a.elem == Elem::kBool && b.elem == Elem::kBool && y.elem == Elem::kBool &&
                  Spreads(a, y) && Spreads(b, y),
              "operands are not bool");
}

Status CheckNot(const Call& c) {
  return Want(c.in[0]->elem == Elem::kBool && c.out[0]->elem == Elem::kBool &&
                  SameDims(*c.in[0], *c.out[0]),
              "operand is not bool");
}

#define SMELT_SIGNED(Name, FLOAT, INTEGER)                                              \
  Status Run##Name(const Call& c) {                                                     \
    if (c.out[0]->elem == Elem::kF32) return FLOAT;                                     \
    if (c.out[0]->elem == Elem::kI64) {                                                 \
      Map<int64_t, int64_t>(c, [](int64_t v) -> int64_t { return INTEGER(uint64_t); }); \
    } else {                                                                            \
      Map<int32_t, int32_t>(c, [](int32_t v) -> int32_t { return INTEGER(uint32_t); }); \
    }                                                                                   \
    return Status();                                                                    \
  }
#define SMELT_NEG(U) static_cast<decltype(v)>(U{0} - static_cast<U>(v))
#define SMELT_ABS(U) (v < 0 ? SMELT_NEG(U) : v)
#define SMELT_SIGN(U) ((v > 0) - (v < 0))
SMELT_SIGNED(Neg, Vector(c, Unary::kNeg), SMELT_NEG)
SMELT_SIGNED(Abs, Vector(c, Unary::kAbs), SMELT_ABS)
SMELT_SIGNED(Sign, FloatUnary(c, [](float v) { return static_cast<float>((v > 0) - (v < 0)); }),
             SMELT_SIGN)
#undef SMELT_SIGN
#undef SMELT_ABS
#undef SMELT_NEG
#undef SMELT_SIGNED

Status RunFloor(const Call& c) {
  return FloatUnary(c, [](float v) { return std::floor(v); });
}
Status RunRound(const Call& c) {
  return FloatUnary(c, [](float v) { return std::nearbyint(v); });
}
Status RunSqrt(const Call& c) { return Vector(c, Unary::kSqrt); }
Status RunRsqrt(const Call& c) { return Vector(c, Unary::kRsqrt); }
Status RunExp(const Call& c) { return Vector(c, Unary::kExp); }
Status RunLog(const Call& c) { return Vector(c, Unary::kLog); }
Status RunSin(const Call& c) { return Vector(c, Unary::kSin); }
Status RunCos(const Call& c) { return Vector(c, Unary::kCos); }
Status RunErf(const Call& c) { return Vector(c, Unary::kErf); }
Status RunTanh(const Call& c) { return VectorActivate(c, Activation::kTanh); }
Status RunSigmoid(const Call& c) { return VectorActivate(c, Activation::kSigmoid); }

#define SMELT_WRAPPED(op)                                                    \
  [](auto a, auto b) {                                                       \
    using U = std::make_unsigned_t<decltype(a)>;                             \
    return static_cast<decltype(a)>(static_cast<U>(a) op static_cast<U>(b)); \
  }
Status RunAdd(const Call& c) {
  if (TryVector(c, Binary::kAdd)) return Status();
  return Arithmetic(c, [](float a, float b) { return a + b; }, SMELT_WRAPPED(+));
}
Status RunSub(const Call& c) {
  if (TryVector(c, Binary::kSub)) return Status();
  return Arithmetic(c, [](float a, float b) { return a - b; }, SMELT_WRAPPED(-));
}
Status RunMul(const Call& c) {
  if (TryVector(c, Binary::kMul)) return Status();
  return Arithmetic(c, [](float a, float b) { return a * b; }, SMELT_WRAPPED(*));
}
#undef SMELT_WRAPPED
Status RunDiv(const Call& c) {
  if (TryVector(c, Binary::kDiv)) return Status();
  return Arithmetic(
      c, [](float a, float b) { return a / b; },
      [](auto a, auto b) { return FloorQuotient(a, b); });
}
Status RunMod(const Call& c) {
  return Arithmetic(
      c,
      [](float a, float b) {
        const float r = std::fmod(a, b);
        return r != 0 && (r < 0) != (b < 0) ? r + b : r;
      },
      [](auto a, auto b) { return FloorRemainder(a, b); });
}
Status RunPow(const Call& c) {
  if (TryVector(c, Binary::kPow)) return Status();
  return Arithmetic(
      c, [](float a, float b) { return std::pow(a, b); },
      [](auto a, auto b) { return IntegerPower(a, b); });
}
// NaN wins, as in numpy and torch.
Status RunMaximum(const Call& c) {
  return Arithmetic(
      c, [](float a, float b) { return a >= b || std::isnan(a) ? a : b; },
      [](auto a, auto b) { return a > b ? a : b; });
}
Status RunMinimum(const Call& c) {
  return Arithmetic(
      c, [](float a, float b) { return a <= b || std::isnan(a) ? a : b; },
      [](auto a, auto b) { return a < b ? a : b; });
}

Status RunEqual(const Call& c) {
  return Compare(c, [](auto a, auto b) -> uint8_t { return a == b; });
}
Status RunLess(const Call& c) {
  return Compare(c, [](auto a, auto b) -> uint8_t { return a < b; });
}
Status RunLessEqual(const Call& c) {
  return Compare(c, [](auto a, auto b) -> uint8_t { return a <= b; });
}
Status RunAnd(const Call& c) {
  Map2<uint8_t, uint8_t>(c, [](uint8_t a, uint8_t b) -> uint8_t { return a && b; });
  return Status();
}
Status RunOr(const Call& c) {
  Map2<uint8_t, uint8_t>(c, [](uint8_t a, uint8_t b) -> uint8_t { return a || b; });
  return Status();
}
Status RunNot(const Call& c) {
  Map<uint8_t, uint8_t>(c, [](uint8_t a) -> uint8_t { return !a; });
  return Status();
}

Status CheckWhere(const Call& c) {
  const View &m = *c.in[0], &a = *c.in[1], &b = *c.in[2], &y = *c.out[0];
  return Want(m.elem == Elem::kBool && a.elem == b.elem && a.elem == y.elem &&
                  ElemBytes(y.elem) > 0 && Spreads(m, y) && Spreads(a, y) && Spreads(b, y),
              "operands do not spread to the result");
}

namespace {
template <typename T>
void Select(const Call& c) {
  const View* const views[4] = {c.out[0], c.in[0], c.in[1], c.in[2]};
  const Loop<4> loop = JoinAxes(views);
  const int last = loop.rank - 1;
  const int64_t so = loop.strides[0][last], sm = loop.strides[1][last], sa = loop.strides[2][last],
                sb = loop.strides[3][last];
  ForEachRow(*c.exec, loop, [&](const int64_t* at, int64_t n) {
    T* o = c.out[0]->as<T>() + at[0];
    const uint8_t* m = c.in[0]->data + at[1];
    const T *a = c.in[1]->as<T>() + at[2], *b = c.in[2]->as<T>() + at[3];
    for (int64_t i = 0; i < n; ++i) o[i * so] = m[i * sm] ? a[i * sa] : b[i * sb];
  });
}
}  // namespace

Status RunWhere(const Call& c) {
  switch (ElemBytes(c.out[0]->elem)) {
    case 8:
      Select<uint64_t>(c);
      break;
    case 4:
      Select<uint32_t>(c);
      break;
    case 2:
      Select<uint16_t>(c);
      break;
    default:
      Select<uint8_t>(c);
  }
  return Status();
}

}  // namespace ops
}  // namespace smelt
