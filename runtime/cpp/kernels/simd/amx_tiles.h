// AMX instructions by tile number.
#pragma once

#include <cstdint>

#include "linear.h"

namespace smelt {
namespace avx512 {

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
  void Set(int tile, int64_t count, int64_t bytes) {
    rows[tile] = static_cast<uint8_t>(count);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};

// Tile numbers must be constants in the instruction's text, which intrinsics cannot take from a
// template.
template <int kTile>
SMELT_INLINE void ZeroTile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
template <int kTile>
SMELT_INLINE void LoadTile(const void* p, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
SMELT_INLINE void StoreTile(void* p) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)"
               :
               : "r"(p), "r"(int64_t{64}), "i"(kTile)
               : "memory");
}
template <int kSum, int kIn, int kWeight>
SMELT_INLINE void MultiplySigned() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kIn), "i"(kWeight));
}
template <int kSum, int kIn, int kWeight>
SMELT_INLINE void MultiplyUnsigned() {  // weights unsigned
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kIn), "i"(kWeight));
}
template <int kSum, int kIn, int kWeight>
SMELT_INLINE void MultiplyBf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kIn), "i"(kWeight));
}

}  // namespace avx512
}  // namespace smelt
