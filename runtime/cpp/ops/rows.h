// Views in the forms that kernels take: rows with a stride, heads, lines.
#pragma once

#include "ops/loop.h"

namespace smelt::ops {

// The leading axes as one: rows `stride` apart with adjacent elements.
struct Rows {
  int64_t count = 1, stride = 0;
};

inline bool AsRows(const View& v, Rows* rows) {
  if (v.elem != Elem::kF32 || v.rank < 1) return false;
  if (v.dims[v.rank - 1] > 1 && v.strides[v.rank - 1] != 1) return false;
  *rows = {1, v.dims[v.rank - 1]};
  bool first = true;
  int64_t expect = 0;
  for (int axis = v.rank - 2; axis >= 0; --axis) {
    if (v.dims[axis] == 1) continue;
    if (first)
      rows->stride = v.strides[axis];
    else if (v.strides[axis] != expect)
      return false;
    first = false;
    expect = v.strides[axis] * v.dims[axis];
    rows->count *= v.dims[axis];
  }
  return true;
}

// [batch, heads, tokens, dim] with adjacent channels, its axes in any order in memory.
inline bool AsHeads(const View& v, Heads* heads) {
  if (v.elem != Elem::kF32 || v.rank != 4 || (v.dims[3] > 1 && v.strides[3] != 1)) return false;
  *heads = {v.f32(), v.strides[0], v.strides[1], v.strides[2]};
  return true;
}

inline bool IsActivation(uint32_t word) {
  return word <= static_cast<uint32_t>(Activation::kRelu2);
}

// A dense f32 vector of that many elements, or absent.
inline bool IsVector(const View* v, int64_t count) {
  return !v || (PlainF32(v) && v->count == count);
}

}  // namespace smelt::ops
