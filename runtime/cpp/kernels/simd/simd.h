// One vector vocabulary, so that a kernel is written once: 16 floats (Vf), 16 int32 (Vi), 64 bytes
// (Vb).
//
// A source that includes this is compiled once for each instruction set, with SMELT_KERNEL_ISA set
// by the build, and puts everything into namespace smelt::SMELT_ISA_NS. Such sources use no
// standard templates: an inline function compiled for AVX-512 must not be the copy that the linker
// keeps for everyone.
#pragma once

#define SMELT_PORTABLE 0
#define SMELT_AVX2 1
#define SMELT_AVX512 2
#define SMELT_NEON 3
#define SMELT_I8MM 4

#if SMELT_KERNEL_ISA == SMELT_AVX512
#include "simd_avx512.h"
#define SMELT_ISA_NS avx512
#elif SMELT_KERNEL_ISA == SMELT_AVX2
#include "simd_avx2.h"
#define SMELT_ISA_NS avx2
#elif SMELT_KERNEL_ISA == SMELT_NEON
#define SMELT_ISA_NS neon
#include "simd_neon.h"
#elif SMELT_KERNEL_ISA == SMELT_I8MM
#define SMELT_ISA_NS i8mm
#include "simd_neon.h"
#else
#include "simd_portable.h"
#define SMELT_ISA_NS portable
#endif

namespace smelt {
namespace SMELT_ISA_NS {

#if SMELT_KERNEL_ISA != SMELT_AVX512
// to[i * stride + r] = element i of rows[r], for four rows.
SMELT_INLINE void StoreColumns(const Vf* rows, float* to, int64_t stride) {
  for (int r = 0; r < 4; ++r) {
    float row[16];
    Store(row, rows[r]);
    for (int i = 0; i < 16; ++i) to[i * stride + r] = row[i];
  }
}
#endif
// The same of the first n columns.
SMELT_INLINE void StoreColumnsN(const Vf* rows, float* to, int64_t stride, int64_t n) {
  if (n >= 16) return StoreColumns(rows, to, stride);
  for (int r = 0; r < 4; ++r) {
    float row[16];
    Store(row, rows[r]);
    for (int64_t i = 0; i < n; ++i) to[i * stride + r] = row[i];
  }
}

// Rounds to bf16, to nearest even, as 16 integers of 16 bits (NaN keeps its payload's top bits).
SMELT_INLINE Vi ToBf16(Vf a) {
  const Vi u = AsInt(a);
  return Shr<16>(u + SetI(0x7FFF) + (Shr<16>(u) & SetI(1)));
}

SMELT_INLINE Vf RoundToBf16(Vf a) { return AsFloat(Shl<16>(ToBf16(a))); }

// For weights of a decode step that stream from memory faster than the hardware prefetcher runs
// ahead: asks a page ahead, once for each `bytes` that are consumed; nothing is gained nearer or
// further.
SMELT_INLINE void PrefetchWeights(const uint8_t* p, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + 4096 + i);
}

// First n (up to 16) elements of narrow types through a padded copy.
template <typename T, typename F>
SMELT_INLINE Vf LoadPart(const T* p, int64_t n, F load) {
  if (n >= 16) return load(p);
  T part[16] = {};
  for (int64_t i = 0; i < n; ++i) part[i] = p[i];
  return load(part);
}
template <typename T, typename V, typename F>
SMELT_INLINE void StorePart(T* p, V a, int64_t n, F store) {
  if (n >= 16) return store(p, a);
  T part[16];
  store(part, a);
  for (int64_t i = 0; i < n; ++i) p[i] = part[i];
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
