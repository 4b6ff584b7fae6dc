// Walking broadcast, strided tensors: the axes that can be joined are joined, the innermost one is
// a plain loop of the caller's.
#pragma once

#include <algorithm>

#include "core/op.h"
#include "core/view.h"

namespace smelt {

// ---- checks
// --------------------------------------------------------------------------------------

inline Status Want(bool condition, const char* what) {
  return condition ? Status() : Error(Code::kBadFile, "%s", what);
}
inline bool SameDims(const View& a, const View& b) {
  return a.rank == b.rank && std::equal(a.dims, a.dims + a.rank, b.dims);
}
// Whether `a` spreads to the shape of `out` by numpy's rule.
bool Spreads(const View& a, const View& out);
// The elements of a dense f32 tensor lie row after row.
inline bool PlainF32(const View* v) { return v && v->elem == Elem::kF32 && v->contiguous; }

// ---- loops
// ---------------------------------------------------------------------------------------

template <int N>
struct Loop {
  int rank = 1;
  int64_t dims[kMaxRank] = {1};
  int64_t strides[N][kMaxRank] = {};  // elements; 0 where a tensor is repeated
};

// views[0] is the output; the others spread to its shape (checked before).
template <int N>
Loop<N> JoinAxes(const View* const (&views)[N]);

using RowTask = void (*)(const void* row, const int64_t* offsets, int64_t count);
template <int N>
void RunRows(const Exec& exec, const Loop<N>& loop, RowTask task, const void* row);

// row(offsets, count) for each innermost row, cut into pieces of at most kGrain elements.
template <int N, typename Row>
void ForEachRow(const Exec& exec, const Loop<N>& loop, const Row& row) {
  RunRows(
      exec, loop,
      [](const void* self, const int64_t* offsets, int64_t count) {
        (*static_cast<const Row*>(self))(offsets, count);
      },
      &row);
}

// Every element of `out` as function(elements of the inputs).
template <typename Out, typename In, typename F>
void Map(const Call& c, const F& function) {
  const View* const views[2] = {c.out[0], c.in[0]};
  const Loop<2> loop = JoinAxes(views);
  const int64_t so = loop.strides[0][loop.rank - 1], sx = loop.strides[1][loop.rank - 1];
  ForEachRow(*c.exec, loop, [&](const int64_t* at, int64_t n) {
    Out* o = c.out[0]->as<Out>() + at[0];
    const In* x = c.in[0]->as<In>() + at[1];
    for (int64_t i = 0; i < n; ++i) o[i * so] = function(x[i * sx]);
  });
}

template <typename Out, typename In, typename F>
void Map2(const Call& c, const F& function) {
  const View* const views[3] = {c.out[0], c.in[0], c.in[1]};
  const Loop<3> loop = JoinAxes(views);
  const int64_t so = loop.strides[0][loop.rank - 1], sa = loop.strides[1][loop.rank - 1],
                sb = loop.strides[2][loop.rank - 1];
  ForEachRow(*c.exec, loop, [&](const int64_t* at, int64_t n) {
    Out* o = c.out[0]->as<Out>() + at[0];
    const In* a = c.in[0]->as<In>() + at[1];
    const In* b = c.in[1]->as<In>() + at[2];
    for (int64_t i = 0; i < n; ++i) o[i * so] = function(a[i * sa], b[i * sb]);
  });
}

// ---- one axis at a time
// --------------------------------------------------------------------------

// A view with one axis taken out: the lines along that axis are numbered row-major over the others.
struct Lines {
  int64_t count = 1, length = 1, stride = 0;
  int rank = 0;
  int64_t dims[kMaxRank] = {};
  int64_t strides[kMaxRank] = {};

  Lines(const View& v, int axis) {
    length = v.dims[axis];
    stride = v.strides[axis];
    for (int a = 0; a < v.rank; ++a) {
      if (a == axis) continue;
      dims[rank] = v.dims[a];
      strides[rank++] = v.strides[a];
      count *= v.dims[a];
    }
  }
  // The offset of line i.
  int64_t At(int64_t i) const {
    int64_t offset = 0;
    for (int axis = rank - 1; axis >= 0; --axis) {
      offset += (i % dims[axis]) * strides[axis];
      i /= dims[axis];
    }
    return offset;
  }
};

}  // namespace smelt
