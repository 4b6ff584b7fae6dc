// Moving and making elements: casts, copies, padding.
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/half.h"
#include "ops/loop.h"
#include "ops/ops.h"

namespace smelt::ops {
namespace {

struct F16 {
  uint16_t bits;
};
struct Bf16 {
  uint16_t bits;
};
struct Bool {
  uint8_t value;
};

template <typename T>
float ToFloat(T v) {
  if constexpr (std::is_same_v<T, F16>)
    return FloatOfF16(v.bits);
  else if constexpr (std::is_same_v<T, Bf16>)
    return FloatOfBf16(v.bits);
  else if constexpr (std::is_same_v<T, Bool>)
    return v.value ? 1.0f : 0.0f;
  else
    return static_cast<float>(v);
}

// Truncates; what does not fit becomes the nearest value that does, NaN becomes 0.
template <typename To>
To FromFloat(float v) {
  if constexpr (std::is_same_v<To, float>)
    return v;
  else if constexpr (std::is_same_v<To, F16>)
    return {F16OfFloat(v)};
  else if constexpr (std::is_same_v<To, Bf16>)
    return {Bf16OfFloat(v)};
  else if constexpr (std::is_same_v<To, Bool>)
    return {static_cast<uint8_t>(v != 0)};
  else {
    if (std::isnan(v)) return 0;
    if (v <= static_cast<float>(std::numeric_limits<To>::min()))
      return std::numeric_limits<To>::min();
    if (v >= static_cast<float>(std::numeric_limits<To>::max()))
      return std::numeric_limits<To>::max();
    return static_cast<To>(v);
  }
}

template <typename To, typename From>
To Convert(From v) {
  if constexpr (std::is_integral_v<From> && std::is_integral_v<To>)
    return static_cast<To>(v);
  else if constexpr (std::is_same_v<From, Bool> && std::is_integral_v<To>)
    return v.value ? 1 : 0;
  else if constexpr (std::is_integral_v<From> && std::is_same_v<To, Bool>)
    return {static_cast<uint8_t>(v != 0)};
  else
    return FromFloat<To>(ToFloat(v));
}

template <typename To, typename From>
void CastTo(const Call& c) {
  Map<To, From>(c, [](From v) { return Convert<To>(v); });
}

template <typename From>
void CastFrom(const Call& c) {
  switch (c.out[0]->elem) {
    case Elem::kF32:
      return CastTo<float, From>(c);
    case Elem::kF16:
      return CastTo<F16, From>(c);
    case Elem::kBf16:
      return CastTo<Bf16, From>(c);
    case Elem::kI64:
      return CastTo<int64_t, From>(c);
    case Elem::kI32:
      return CastTo<int32_t, From>(c);
    case Elem::kI8:
      return CastTo<int8_t, From>(c);
    case Elem::kU8:
      return CastTo<uint8_t, From>(c);
    case Elem::kBool:
      return CastTo<Bool, From>(c);
    case Elem::kOpaque:
      return;
  }
}

template <typename T>
void CopyElements(const Call& c) {
  const View* const views[2] = {c.out[0], c.in[0]};
  const Loop<2> loop = JoinAxes(views);
  const int64_t so = loop.strides[0][loop.rank - 1], sx = loop.strides[1][loop.rank - 1];
  ForEachRow(*c.exec, loop, [&](const int64_t* at, int64_t n) {
    T* o = c.out[0]->as<T>() + at[0];
    const T* x = c.in[0]->as<T>() + at[1];
    if (so == 1 && sx == 1) {
      std::memcpy(o, x, static_cast<size_t>(n) * sizeof(T));
      return;
    }
    for (int64_t i = 0; i < n; ++i) o[i * so] = x[i * sx];
  });
}

double WideValue(const Call& c, int word) {
  const uint64_t bits = uint64_t{c.words[word]} | uint64_t{c.words[word + 1]} << 32;
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

int64_t AsInteger(double v) {
  if (!(v > -9.2e18)) return std::isnan(v) ? 0 : INT64_MIN;
  return v < 9.2e18 ? static_cast<int64_t>(v) : INT64_MAX;
}

// The element of type `elem` with this value, in the low bytes.
uint64_t ElementBits(Elem elem, double value) {
  const float narrow = static_cast<float>(value);
  uint32_t bits;
  std::memcpy(&bits, &narrow, sizeof bits);
  switch (elem) {
    case Elem::kF32:
      return bits;
    case Elem::kF16:
      return F16OfFloat(narrow);
    case Elem::kBf16:
      return Bf16OfFloat(narrow);
    case Elem::kBool:
      return value != 0;
    default:
      return static_cast<uint64_t>(AsInteger(value));
  }
}

template <typename T>
void Fill(const Exec& exec, const View& out, uint64_t bits) {
  const View* const views[1] = {&out};
  const Loop<1> loop = JoinAxes(views);
  const int64_t stride = loop.strides[0][loop.rank - 1];
  ForEachRow(exec, loop, [&](const int64_t* at, int64_t n) {
    T* o = out.as<T>() + at[0];
    for (int64_t i = 0; i < n; ++i) o[i * stride] = static_cast<T>(bits);
  });
}

void FillView(const Exec& exec, const View& out, double value) {
  const uint64_t bits = ElementBits(out.elem, value);
  switch (ElemBytes(out.elem)) {
    case 8:
      return Fill<uint64_t>(exec, out, bits);
    case 4:
      return Fill<uint32_t>(exec, out, bits);
    case 2:
      return Fill<uint16_t>(exec, out, bits);
    default:
      return Fill<uint8_t>(exec, out, bits);
  }
}

void CopyView(const Call& c) {
  switch (ElemBytes(c.out[0]->elem)) {
    case 8:
      return CopyElements<uint64_t>(c);
    case 4:
      return CopyElements<uint32_t>(c);
    case 2:
      return CopyElements<uint16_t>(c);
    default:
      return CopyElements<uint8_t>(c);
  }
}

}  // namespace

Status CheckCast(const Call& c) {
  return Want(ElemBytes(c.in[0]->elem) && ElemBytes(c.out[0]->elem) && Spreads(*c.in[0], *c.out[0]),
              "operand does not spread to the result");
}

Status RunCast(const Call& c) {
  switch (c.in[0]->elem) {
    case Elem::kF32:
      CastFrom<float>(c);
      break;
    case Elem::kF16:
      CastFrom<F16>(c);
      break;
    case Elem::kBf16:
      CastFrom<Bf16>(c);
      break;
    case Elem::kI64:
      CastFrom<int64_t>(c);
      break;
    case Elem::kI32:
      CastFrom<int32_t>(c);
      break;
    case Elem::kI8:
      CastFrom<int8_t>(c);
      break;
    case Elem::kU8:
      CastFrom<uint8_t>(c);
      break;
    case Elem::kBool:
      CastFrom<Bool>(c);
      break;
    case Elem::kOpaque:
      break;
  }
  return Status();
}

Status CheckCopy(const Call& c) {
  return Want(
      c.in[0]->elem == c.out[0]->elem && ElemBytes(c.out[0]->elem) && Spreads(*c.in[0], *c.out[0]),
      "operand does not spread to the result");
}

Status RunCopy(const Call& c) {
  CopyView(c);
  return Status();
}

Status CheckFull(const Call& c) {
  return Want(ElemBytes(c.out[0]->elem) > 0, "the result is packed");
}

Status RunFull(const Call& c) {
  FillView(*c.exec, *c.out[0], WideValue(c, 0));
  return Status();
}

Status CheckArange(const Call& c) {
  const View& y = *c.out[0];
  // Sizes are below 2^46, so a start of that order cannot overflow with them.
  const int64_t start = c.Dim(0);
  return Want(y.elem == Elem::kI64 && y.rank == 1 && y.contiguous && start > -(int64_t{1} << 60) &&
                  start < (int64_t{1} << 60),
              "the result is not a row of i64");
}

Status RunArange(const Call& c) {
  const int64_t start = c.Dim(0);
  int64_t* y = c.out[0]->as<int64_t>();
  for (int64_t i = 0; i < c.out[0]->count; ++i) y[i] = start + i;
  return Status();
}

Status CheckPad(const Call& c) {
  const View &x = *c.in[0], &y = *c.out[0];
  const uint32_t axis = c.Word(0);
  SMELT_TRY(Want(x.elem == y.elem && ElemBytes(y.elem) && x.rank == y.rank && axis < y.rank,
                 "operands do not fit"));
  const int64_t before = c.Dim(1);
  bool good = before >= 0 && before <= y.dims[axis] && x.dims[axis] <= y.dims[axis] - before;
  for (uint32_t a = 0; a < y.rank; ++a) good = good && (a == axis || x.dims[a] == y.dims[a]);
  return Want(good, "the padded sizes do not fit");
}

Status RunPad(const Call& c) {
  FillView(*c.exec, *c.out[0], WideValue(c, 2));
  View inside = *c.out[0];
  inside.data += c.Dim(1) * inside.strides[c.Word(0)] * ElemBytes(inside.elem);
  inside.dims[c.Word(0)] = c.in[0]->dims[c.Word(0)];
  inside.contiguous = false;
  Call copy = c;
  copy.out[0] = &inside;
  CopyView(copy);
  return Status();
}

Status CheckFlip(const Call& c) {
  const View &x = *c.in[0], &y = *c.out[0];
  return Want(x.elem == y.elem && ElemBytes(y.elem) && SameDims(x, y) && c.Word(0) < y.rank,
              "operands do not fit");
}

Status RunFlip(const Call& c) {
  const View &x = *c.in[0], &y = *c.out[0];
  if (x.count == 0) return Status();
  const int axis = static_cast<int>(c.Word(0));
  const Lines from(x, axis), to(y, axis);
  const int64_t bytes = ElemBytes(x.elem);
  ParallelFor(c.exec->pool, to.count, [&](int64_t line, int) {
    const uint8_t* source = x.data + (from.At(line) + (from.length - 1) * from.stride) * bytes;
    uint8_t* target = y.data + to.At(line) * bytes;
    for (int64_t i = 0; i < to.length; ++i) {
      std::memcpy(target + i * to.stride * bytes, source - i * from.stride * bytes,
                  static_cast<size_t>(bytes));
    }
  });
  return Status();
}

}  // namespace smelt::ops
