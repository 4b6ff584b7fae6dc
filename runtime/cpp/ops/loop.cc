#include "ops/loop.h"

#include "threads.h"

namespace smelt {

bool Spreads(const View& a, const View& out) {
  if (a.rank > out.rank) return false;
  for (int axis = 0; axis < a.rank; ++axis) {
    if (a.dims[axis] != 1 && a.dims[axis] != out.dims[axis + out.rank - a.rank]) return false;
  }
  return true;
}

template <int N>
Loop<N> JoinAxes(const View* const (&views)[N]) {
  Loop<N> loop;
  loop.rank = 0;
  const View& out = *views[0];
  for (int axis = 0; axis < out.rank; ++axis) {
    if (out.dims[axis] == 1) continue;
    int64_t strides[N];
    for (int v = 0; v < N; ++v) {
      const int own = axis - (out.rank - views[v]->rank);
      strides[v] = own < 0 || views[v]->dims[own] == 1 ? 0 : views[v]->strides[own];
    }
    bool joins = loop.rank > 0;
    for (int v = 0; v < N && joins; ++v) {
      joins = loop.strides[v][loop.rank - 1] == strides[v] * out.dims[axis];
    }
    const int at = joins ? loop.rank - 1 : loop.rank++;
    loop.dims[at] = joins ? loop.dims[at] * out.dims[axis] : out.dims[axis];
    for (int v = 0; v < N; ++v) loop.strides[v][at] = strides[v];
  }
  if (loop.rank == 0) loop.rank = 1, loop.dims[0] = 1;
  return loop;
}

template <int N>
void RunRows(const Exec& exec, const Loop<N>& loop, RowTask task, const void* row) {
  constexpr int64_t kGrain = 16384;
  const int last = loop.rank - 1;
  const int64_t inner = loop.dims[last];
  int64_t outer = 1;
  for (int axis = 0; axis < last; ++axis) outer *= loop.dims[axis];
  if (inner == 0 || outer == 0) return;
  const int64_t pieces = (inner + kGrain - 1) / kGrain;
  const int64_t group = std::max<int64_t>(1, kGrain / std::min(inner, kGrain));
  const int64_t groups = (outer + group - 1) / group;
  ParallelFor(exec.pool, groups * pieces, [&](int64_t piece, int) {
    const int64_t start = (piece % pieces) * kGrain;
    const int64_t count = std::min(kGrain, inner - start);
    const int64_t first = (piece / pieces) * group, end = std::min(outer, first + group);
    for (int64_t r = first; r < end; ++r) {
      int64_t offsets[N];
      for (int v = 0; v < N; ++v) offsets[v] = start * loop.strides[v][last];
      int64_t rest = r;
      for (int axis = last - 1; axis >= 0; --axis) {
        const int64_t index = rest % loop.dims[axis];
        rest /= loop.dims[axis];
        for (int v = 0; v < N; ++v) offsets[v] += index * loop.strides[v][axis];
      }
      task(row, offsets, count);
    }
  });
}

template Loop<1> JoinAxes(const View* const (&)[1]);
template Loop<2> JoinAxes(const View* const (&)[2]);
template Loop<3> JoinAxes(const View* const (&)[3]);
template Loop<4> JoinAxes(const View* const (&)[4]);
template void RunRows(const Exec&, const Loop<1>&, RowTask, const void*);
template void RunRows(const Exec&, const Loop<2>&, RowTask, const void*);
template void RunRows(const Exec&, const Loop<3>&, RowTask, const void*);
template void RunRows(const Exec&, const Loop<4>&, RowTask, const void*);

}  // namespace smelt
