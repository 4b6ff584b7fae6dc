// CRC-32 as zlib computes it (polynomial 0xedb88320), so that Python's zlib.crc32 agrees.
#pragma once

#include <cstddef>
#include <cstdint>

namespace smelt {

// Continues from `crc` (0 at first).
uint32_t Crc32(uint32_t crc, const void* data, size_t bytes);

}  // namespace smelt
