// A tensor at run time: where its elements lie and how. Offsets and sizes are checked before use.
#pragma once

#include <cstdint>

#include "core/format.h"
#include "core/status.h"
#include "kernels/kernels.h"

namespace smelt {

struct View {
  uint8_t* data = nullptr;
  const PackedMatrix* packed =
      nullptr;               // elem is kOpaque; `dims` are rows and cols, [experts] first
  int64_t packed_bytes = 0;  // of one expert
  int32_t slot = -1;         // elem is kOpaque unless the slot is plain f32
  Elem elem = Elem::kF32;
  uint8_t rank = 0;
  bool contiguous = true;
  int64_t count = 0;
  int64_t dims[kMaxRank] = {};
  int64_t strides[kMaxRank] = {};

  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
  float* f32() const { return as<float>(); }
  int64_t last() const { return rank ? dims[rank - 1] : 1; }
};

}  // namespace smelt
