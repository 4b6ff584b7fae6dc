#include "core/crc32.h"

#include <cstring>

namespace smelt {
namespace {

// Eight bytes a step ("slicing by 8"): about 2 GB/s, enough to check a file faster than a disk
// reads.
struct Tables {
  uint32_t at[8][256];
  constexpr Tables() : at() {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1)));
      at[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; ++i) {
      for (int t = 1; t < 8; ++t) at[t][i] = (at[t - 1][i] >> 8) ^ at[0][at[t - 1][i] & 255];
    }
  }
};
constexpr Tables kTables;

}  // namespace

uint32_t Crc32(uint32_t crc, const void* data, size_t bytes) {
  const auto* p = static_cast<const uint8_t*>(data);
  const auto& t = kTables.at;
  crc = ~crc;
  for (; bytes >= 8; bytes -= 8, p += 8) {
    uint32_t low, high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + 4, 4);
    low ^= crc;
    crc = t[7][low & 255] ^ t[6][(low >> 8) & 255] ^ t[5][(low >> 16) & 255] ^ t[4][low >> 24] ^
          t[3][high & 255] ^ t[2][(high >> 8) & 255] ^ t[1][(high >> 16) & 255] ^ t[0][high >> 24];
  }
  for (; bytes; --bytes, ++p) crc = (crc >> 8) ^ t[0][(crc ^ *p) & 255];
  return ~crc;
}

}  // namespace smelt
