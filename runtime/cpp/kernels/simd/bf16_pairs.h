// Pairs of bf16 in elements of 32 bits, on machines with AVX512_BF16. Assembly, so that only these
// two instructions need what the machine may lack.
//
// Products of bf16 are exact in f32; a pair is added to the running sum odd column first, with both
// sums rounded. The instruction takes denormals for zero, below 1.2e-38.
#pragma once

#include "simd.h"

namespace smelt {
namespace avx512 {

SMELT_INLINE Vf Dot2(Vf acc, Vf pairs, Vf in) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(acc.v) : "v"(pairs.v), "v"(in.v));
  return acc;
}

// 32 columns as pairs of bf16, to nearest even.
SMELT_INLINE Vf Rounded(Vf low, Vf high) {
  Vf pairs;
  asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(pairs.v) : "v"(high.v), "v"(low.v));
  return pairs;
}

}  // namespace avx512
}  // namespace smelt
