// The random numbers of generation: Philox 4x32-10, a pure function of (seed, row, step); see
// runtime/random.py.
#pragma once

#include <cstdint>

namespace smelt::generation {

// A double in [0, 1) with 53 random bits.
inline double Uniform(uint64_t seed, uint32_t row, uint32_t step) {
  uint32_t c0 = step, c1 = row, c2 = 0, c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const uint64_t bits = (uint64_t{c0 >> 5} << 26) + (c1 >> 6);
  return static_cast<double>(bits) / 9007199254740992.0;
}

}  // namespace smelt::generation
