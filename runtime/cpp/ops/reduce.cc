// Reductions, scans and selections along axes.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/loop.h"
#include "ops/ops.h"

namespace smelt::ops {
namespace {

// The reduced axes as one view, the kept ones as another; both walk the operand.
struct Split {
  View kept, gone;
};

Split SplitAxes(const View& x, uint32_t axes) {
  Split s;
  auto put = [&x](View* v, int axis) {
    v->dims[v->rank] = x.dims[axis];
    v->strides[v->rank++] = x.strides[axis];
  };
  for (int axis = 0; axis < x.rank; ++axis) put((axes >> axis) & 1 ? &s.gone : &s.kept, axis);
  return s;
}

// Folds the elements of one result, innermost axis last, in a fixed order.
template <typename T, typename A, typename F>
A FoldAll(const T* x, const View& gone, int axis, A total, const F& f) {
  if (axis == gone.rank) return f(total, *x);
  if (axis == gone.rank - 1) {
    for (int64_t i = 0; i < gone.dims[axis]; ++i) total = f(total, x[i * gone.strides[axis]]);
    return total;
  }
  for (int64_t i = 0; i < gone.dims[axis]; ++i)
    total = FoldAll(x + i * gone.strides[axis], gone, axis + 1, total, f);
  return total;
}

template <typename T, typename A, typename F, typename End>
Status Reduce(const Call& c, A start, const F& f, const End& end) {
  const View &x = *c.in[0], &y = *c.out[0];
  if (y.count == 0) return Status();
  Split s = SplitAxes(x, c.Word(0));
  int64_t each = 1;
  for (int axis = 0; axis < s.gone.rank; ++axis) each *= s.gone.dims[axis];
  const int64_t block = std::max<int64_t>(1, 8192 / std::max<int64_t>(each, 1));
  ParallelFor(c.exec->pool, (y.count + block - 1) / block, [&](int64_t task, int) {
    for (int64_t i = task * block; i < std::min(y.count, (task + 1) * block); ++i) {
      int64_t offset = 0, rest = i;
      for (int axis = s.kept.rank - 1; axis >= 0; --axis) {
        offset += (rest % s.kept.dims[axis]) * s.kept.strides[axis];
        rest /= s.kept.dims[axis];
      }
      y.as<T>()[i] = end(each ? FoldAll(x.as<T>() + offset, s.gone, 0, start, f) : start, each);
    }
  });
  return Status();
}

template <typename F32, typename Int>
Status ReduceBoth(const Call& c, const F32& floats, const Int& integers, float low, int64_t low64) {
  auto same = [](auto v, int64_t) { return v; };
  switch (c.in[0]->elem) {
    case Elem::kF32:
      return Reduce<float, float>(c, low, floats, same);
    case Elem::kI64:
      return Reduce<int64_t, int64_t>(c, low64, integers, same);
    default:
      return Reduce<int32_t, int32_t>(
          c, static_cast<int32_t>(std::clamp<int64_t>(low64, INT32_MIN, INT32_MAX)), integers,
          same);
  }
}

Status CheckOneAxis(const Call& c) {
  return Want(c.Word(0) < c.in[0]->rank, "the axis is outside the operand");
}

}  // namespace

Status CheckReduce(const Call& c) {
  const View &x = *c.in[0], &y = *c.out[0];
  const uint32_t axes = c.Word(0);
  SMELT_TRY(Want((x.elem == Elem::kF32 || x.elem == Elem::kI64 || x.elem == Elem::kI32) &&
                     x.elem == y.elem && y.contiguous && axes < (1u << x.rank),
                 "operands do not fit"));
  // The result may keep reduced axes as 1 or drop them.
  int64_t kept = 1;
  for (int axis = 0; axis < x.rank; ++axis) {
    if (!((axes >> axis) & 1)) kept *= x.dims[axis];
  }
  SMELT_TRY(Want(kept == y.count, "the result has the wrong number of elements"));
  return Status();
}

// Sums are taken in f64: one rounding at the end, whatever the length.
Status RunSum(const Call& c) {
  if (c.in[0]->elem == Elem::kF32) {
    return Reduce<float, double>(
        c, 0.0, [](double t, float v) { return t + v; },
        [](double t, int64_t) { return static_cast<float>(t); });
  }
  auto add = [](auto t, auto v) {
    using U = std::make_unsigned_t<decltype(t)>;
    return static_cast<decltype(t)>(static_cast<U>(t) + static_cast<U>(v));
  };
  return ReduceBoth(c, [](float t, float v) { return t + v; }, add, 0.0f, 0);
}

Status RunMean(const Call& c) {
  SMELT_TRY(Want(c.in[0]->elem == Elem::kF32, "mean of integers"));
  return Reduce<float, double>(
      c, 0.0, [](double t, float v) { return t + v; },
      [](double t, int64_t n) { return static_cast<float>(t / static_cast<double>(n)); });
}

Status RunMax(const Call& c) {
  return ReduceBoth(
      c, [](float t, float v) { return v > t || std::isnan(v) ? v : t; },
      [](auto t, auto v) { return v > t ? v : t; }, -std::numeric_limits<float>::infinity(),
      INT64_MIN);
}

Status RunMin(const Call& c) {
  return ReduceBoth(
      c, [](float t, float v) { return v < t || std::isnan(v) ? v : t; },
      [](auto t, auto v) { return v < t ? v : t; }, std::numeric_limits<float>::infinity(),
      INT64_MAX);
}

Status CheckArgmax(const Call& c) {
  const View &x = *c.in[0], &y = *c.out[0];
  SMELT_TRY(CheckOneAxis(c));
  const int64_t length = x.dims[c.Word(0)];
  return Want((x.elem == Elem::kF32 || x.elem == Elem::kI64) && y.elem == Elem::kI64 &&
                  y.contiguous && length > 0 && y.count == x.count / length,
              "operands do not fit");
}

namespace {
template <typename T>
void FirstLargest(const Call& c) {
  const Lines lines(*c.in[0], static_cast<int>(c.Word(0)));
  ParallelFor(c.exec->pool, lines.count, [&](int64_t line, int) {
    const T* x = c.in[0]->as<T>() + lines.At(line);
    int64_t best = 0;
    for (int64_t i = 1; i < lines.length; ++i) {
      if (x[i * lines.stride] > x[best * lines.stride]) best = i;
    }
    c.out[0]->as<int64_t>()[line] = best;
  });
}
}  // namespace

Status RunArgmax(const Call& c) {
  if (c.in[0]->elem == Elem::kF32)
    FirstLargest<float>(c);
  else
    FirstLargest<int64_t>(c);
  return Status();
}

Status CheckCumsum(const Call& c) {
  const View &x = *c.in[0], &y = *c.out[0];
  SMELT_TRY(CheckOneAxis(c));
  return Want((x.elem == Elem::kF32 || x.elem == Elem::kI64) && x.elem == y.elem && SameDims(x, y),
              "operands do not fit");
}

namespace {
template <typename T, typename A>
void RunningSum(const Call& c) {
  const Lines from(*c.in[0], static_cast<int>(c.Word(0))),
      to(*c.out[0], static_cast<int>(c.Word(0)));
  ParallelFor(c.exec->pool, to.count, [&](int64_t line, int) {
    const T* x = c.in[0]->as<T>() + from.At(line);
    T* y = c.out[0]->as<T>() + to.At(line);
    A total = 0;
    for (int64_t i = 0; i < to.length; ++i)
      y[i * to.stride] = static_cast<T>(total += static_cast<A>(x[i * from.stride]));
  });
}
}  // namespace

Status RunCumsum(const Call& c) {
  if (c.in[0]->count == 0) return Status();
  if (c.in[0]->elem == Elem::kF32)
    RunningSum<float, double>(c);
  else
    RunningSum<int64_t, uint64_t>(c);
  return Status();
}

Status CheckTopK(const Call& c) {
  const View &x = *c.in[0], &v = *c.out[0], &i = *c.out[1];
  SMELT_TRY(Want(PlainF32(&x) && PlainF32(&v) && i.elem == Elem::kI64 && i.contiguous &&
                     x.rank > 0 && x.rank == v.rank && SameDims(v, i) && v.last() <= x.last(),
                 "operands do not fit"));
  return Want(std::equal(x.dims, x.dims + x.rank - 1, v.dims), "leading sizes differ");
}

int64_t ScratchTopK(const Call& c) { return c.in[0]->last() * 8 * c.exec->threads(); }

Status RunTopK(const Call& c) {
  const View &x = *c.in[0], &values = *c.out[0], &indices = *c.out[1];
  const int64_t width = x.last(), k = values.last();
  if (k == 0 || x.count == 0) return Status();
  ParallelFor(c.exec->pool, x.count / width, [&](int64_t row, int thread) {
    const float* line = x.f32() + row * width;
    int64_t* order = reinterpret_cast<int64_t*>(c.scratch) + thread * width;
    for (int64_t i = 0; i < width; ++i) order[i] = i;
    // NaN sorts as the smallest, which keeps the comparison an ordering.
    auto key = [line](int64_t i) {
      return std::isnan(line[i]) ? -std::numeric_limits<float>::infinity() : line[i];
    };
    std::partial_sort(order, order + k, order + width, [&](int64_t a, int64_t b) {
      return key(a) != key(b) ? key(a) > key(b) : a < b;
    });
    for (int64_t i = 0; i < k; ++i) {
      values.f32()[row * k + i] = line[order[i]];
      indices.as<int64_t>()[row * k + i] = order[i];
    }
  });
  return Status();
}

Status CheckSoftmax(const Call& c) {
  return Want(
      PlainF32(c.in[0]) && PlainF32(c.out[0]) && SameDims(*c.in[0], *c.out[0]) && c.in[0]->rank > 0,
      "operands are not plain f32");
}

Status RunSoftmax(const Call& c) {
  const View& x = *c.in[0];
  if (x.count) Softmax(*c.exec, x.f32(), x.count / x.last(), x.last(), c.out[0]->f32());
  return Status();
}

}  // namespace smelt::ops
