// UTF-8, read with bounds: a broken sequence is one byte of U+FFFD, never a stray access.
#pragma once

#include <cstdint>

namespace smelt::text {

struct Char {
  uint32_t code, bytes;
};

// The character at p; p < end.
inline Char Decode(const uint8_t* p, const uint8_t* end) {
  const uint32_t a = *p;
  if (a < 0x80) return {a, 1};
  const auto left = end - p;
  const auto tail = [p](int i) { return static_cast<uint32_t>(p[i] & 0x3f); };
  if (a >= 0xc2 && a < 0xe0 && left >= 2) return {(a & 0x1f) << 6 | tail(1), 2};
  if (a >= 0xe0 && a < 0xf0 && left >= 3) return {(a & 0x0f) << 12 | tail(1) << 6 | tail(2), 3};
  if (a >= 0xf0 && a < 0xf5 && left >= 4) {
    const uint32_t code = (a & 7) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3);
    if (code < 0x110000) return {code, 4};
  }
  return {0xfffd, 1};
}

inline uint32_t Encode(uint32_t code, uint8_t* out) {
  const auto tail = [](uint32_t bits) { return static_cast<uint8_t>(0x80 | (bits & 0x3f)); };
  if (code < 0x80) return out[0] = static_cast<uint8_t>(code), 1;
  if (code < 0x800) {
    out[0] = static_cast<uint8_t>(0xc0 | code >> 6), out[1] = tail(code);
    return 2;
  }
  if (code < 0x10000) {
    out[0] = static_cast<uint8_t>(0xe0 | code >> 12), out[1] = tail(code >> 6), out[2] = tail(code);
    return 3;
  }
  out[0] = static_cast<uint8_t>(0xf0 | code >> 18), out[1] = tail(code >> 12);
  out[2] = tail(code >> 6), out[3] = tail(code);
  return 4;
}

// Bytes at p (p < end) that form one character, or 0. `bad` is then how many bytes are the longest
// beginning of a character (at least 1), `cut` whether the text merely ends too early.
inline uint32_t ValidChar(const uint8_t* p, const uint8_t* end, uint32_t* bad, bool* cut) {
  *bad = 1, *cut = false;
  const uint32_t a = *p;
  if (a < 0x80) return 1;
  if (a < 0xc2 || a > 0xf4) return 0;
  const uint32_t need = a < 0xe0 ? 2 : a < 0xf0 ? 3 : 4;
  for (uint32_t i = 1; i < need; ++i) {
    if (p + i == end) return *cut = true, 0;
    uint32_t low = 0x80, high = 0xbf;
    if (i == 1 && a == 0xe0) low = 0xa0;
    if (i == 1 && a == 0xed) high = 0x9f;
    if (i == 1 && a == 0xf0) low = 0x90;
    if (i == 1 && a == 0xf4) high = 0x8f;
    if (p[i] < low || p[i] > high) return 0;
    *bad = i + 1;
  }
  return need;
}

constexpr uint8_t kReplacement[3] = {0xef, 0xbf, 0xbd};  // U+FFFD

}  // namespace smelt::text
