// Taking elements by index; an index outside its axis is an error of the call, found before
// reading.
#include <cstring>

#include "ops/loop.h"
#include "ops/ops.h"

namespace smelt::ops {
namespace {

Status Outside(int64_t index, int64_t size) {
  return Error(Code::kOutOfRange, "index %lld is outside an axis of %lld",
               static_cast<long long>(index), static_cast<long long>(size));
}

Status CheckIndices(const View& indices, int64_t size) {
  const View* const views[1] = {&indices};
  const Loop<1> loop = JoinAxes(views);
  const int64_t stride = loop.strides[0][loop.rank - 1];
  int64_t bad = 0;
  bool found = false;
  Exec single;  // the order of the first bad index must not depend on threads
  ForEachRow(single, loop, [&](const int64_t* at, int64_t n) {
    const int64_t* ids = indices.as<int64_t>() + at[0];
    for (int64_t i = 0; i < n && !found; ++i) {
      if (ids[i * stride] < 0 || ids[i * stride] >= size) bad = ids[i * stride], found = true;
    }
  });
  return found ? Outside(bad, size) : Status();
}

}  // namespace

// x [lead, axis, rest], indices [...] -> [lead, indices, rest]
Status CheckGather(const Call& c) {
  const View &x = *c.in[0], &ids = *c.in[1], &y = *c.out[0];
  const uint32_t axis = c.Word(0);
  bool good = x.elem == y.elem && ElemBytes(y.elem) && ids.elem == Elem::kI64 && ids.contiguous &&
              y.contiguous && axis < x.rank && x.rank - 1 + ids.rank == y.rank;
  for (uint32_t a = 0; good && a < x.rank; ++a) {
    if (a != axis) good = x.dims[a] == y.dims[a < axis ? a : a + ids.rank - 1];
  }
  for (int a = 0; good && a < ids.rank; ++a) good = ids.dims[a] == y.dims[axis + a];
  return Want(good, "operands do not fit");
}

Status RunGather(const Call& c) {
  const View &x = *c.in[0], &ids = *c.in[1], &y = *c.out[0];
  if (y.count == 0) return Status();
  const int axis = static_cast<int>(c.Word(0));
  SMELT_TRY(CheckIndices(ids, x.dims[axis]));
  const int64_t bytes = ElemBytes(x.elem);
  int64_t inner = 1, outer = 1;
  for (int a = axis + 1; a < x.rank; ++a) inner *= x.dims[a];
  for (int a = 0; a < axis; ++a) outer *= x.dims[a];
  // Offsets of the outer and inner parts of x, which may be strided.
  auto walk = [&x](int64_t i, int first, int end) {
    int64_t offset = 0;
    for (int a = end - 1; a >= first; --a) {
      offset += (i % x.dims[a]) * x.strides[a];
      i /= x.dims[a];
    }
    return offset;
  };
  bool dense = true;
  int64_t expect = 1;
  for (int a = x.rank - 1; a > axis; --a) {
    dense = dense && (x.dims[a] == 1 || x.strides[a] == expect);
    expect *= x.dims[a];
  }
  ParallelFor(c.exec->pool, outer * ids.count, [&](int64_t task, int) {
    const int64_t row = ids.as<int64_t>()[task % ids.count];
    const uint8_t* from =
        x.data + (walk(task / ids.count, 0, axis) + row * x.strides[axis]) * bytes;
    uint8_t* to = y.data + task * inner * bytes;
    if (dense) {
      std::memcpy(to, from, static_cast<size_t>(inner * bytes));
      return;
    }
    for (int64_t i = 0; i < inner; ++i) {
      std::memcpy(to + i * bytes, from + walk(i, axis + 1, x.rank) * bytes,
                  static_cast<size_t>(bytes));
    }
  });
  return Status();
}

Status CheckGatherElements(const Call& c) {
  const View &x = *c.in[0], &ids = *c.in[1], &y = *c.out[0];
  const uint32_t axis = c.Word(0);
  bool good = x.elem == y.elem && ElemBytes(y.elem) && ids.elem == Elem::kI64 && SameDims(ids, y) &&
              x.rank == y.rank && axis < x.rank;
  for (uint32_t a = 0; good && a < x.rank; ++a) good = a == axis || x.dims[a] == y.dims[a];
  return Want(good, "operands do not fit");
}

Status RunGatherElements(const Call& c) {
  const View &x = *c.in[0], &ids = *c.in[1], &y = *c.out[0];
  if (y.count == 0) return Status();
  const int axis = static_cast<int>(c.Word(0));
  SMELT_TRY(CheckIndices(ids, x.dims[axis]));
  const Lines from(x, axis), index(ids, axis), to(y, axis);
  const size_t bytes = static_cast<size_t>(ElemBytes(x.elem));
  ParallelFor(c.exec->pool, to.count, [&](int64_t line, int) {
    const uint8_t* source = x.data + from.At(line) * static_cast<int64_t>(bytes);
    const int64_t* at = ids.as<int64_t>() + index.At(line);
    uint8_t* target = y.data + to.At(line) * static_cast<int64_t>(bytes);
    for (int64_t i = 0; i < to.length; ++i) {
      std::memcpy(target + i * to.stride * static_cast<int64_t>(bytes),
                  source + at[i * index.stride] * from.stride * static_cast<int64_t>(bytes), bytes);
    }
  });
  return Status();
}

// A packed table [rows, width] and ids [...] -> f32 [..., width].
Status CheckEmbedding(const Call& c) {
  const View &table = *c.in[0], &ids = *c.in[1], &y = *c.out[0];
  bool good = table.packed && table.packed_bytes && ids.elem == Elem::kI64 && ids.contiguous &&
              PlainF32(&y) && y.rank == ids.rank + 1 && y.last() == table.packed->shape.cols;
  for (int a = 0; good && a < ids.rank; ++a) good = ids.dims[a] == y.dims[a];
  return Want(good, "operands do not fit");
}

Status RunEmbedding(const Call& c) {
  const View &table = *c.in[0], &ids = *c.in[1], &y = *c.out[0];
  SMELT_TRY(CheckIndices(ids, table.packed->shape.rows));
  if (y.count)
    EmbeddingRows(*c.exec, *table.packed, ids.as<int64_t>(), ids.count, y.f32(), y.last());
  return Status();
}

}  // namespace smelt::ops
