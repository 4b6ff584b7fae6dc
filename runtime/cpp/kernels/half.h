// Scalar conversions between f32 and the two 16-bit floats, exact and rounding to nearest even.
#pragma once

#include <cstdint>
#include <cstring>

namespace smelt {

static inline float FloatOfBits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
static inline uint32_t BitsOfFloat(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}

static inline float FloatOfBf16(uint16_t h) { return FloatOfBits(static_cast<uint32_t>(h) << 16); }
static inline uint16_t Bf16OfFloat(float x) {
  const uint32_t u = BitsOfFloat(x);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u)
    return static_cast<uint16_t>((u >> 16) | 0x40);  // NaN stays NaN
  return static_cast<uint16_t>((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
}

static inline float FloatOfF16(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t rest = static_cast<uint32_t>(h & 0x7FFF) << 13;
  if (rest >= 0x0F800000u) return FloatOfBits(sign | (rest + 0x70000000u));  // infinity, NaN
  // Multiplying by 2^112 rebiases the exponent and normalizes subnormals at once.
  return FloatOfBits(sign | BitsOfFloat(FloatOfBits(rest) * 5.192296858534828e33f));
}
static inline uint16_t F16OfFloat(float x) {
  const uint32_t u = BitsOfFloat(x), sign = (u >> 16) & 0x8000, mag = u & 0x7FFFFFFFu;
  if (mag > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00 | ((mag >> 13) & 0x3FF));
  if (mag >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00);  // rounds to infinity
  if (mag < 0x38800000u) {  // subnormal: adding 0.5 leaves the rounded value in the low bits
    return static_cast<uint16_t>(sign | (BitsOfFloat(FloatOfBits(mag) + 0.5f) - 0x3F000000u));
  }
  return static_cast<uint16_t>(sign | ((mag - 0x38000000u + 0xFFF + ((mag >> 13) & 1)) >> 13));
}

}  // namespace smelt
