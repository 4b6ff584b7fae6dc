#include "template/number.h"

#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace smelt::chat {

bool ParseInteger(const char* text, size_t bytes, int64_t* out) {
  size_t at = 0;
  const bool minus = bytes && text[0] == '-';
  if (bytes && (text[0] == '-' || text[0] == '+')) ++at;
  if (at == bytes) return false;
  int64_t value = 0;
  for (; at < bytes; ++at) {
    if (text[at] < '0' || text[at] > '9') return false;
    const int64_t digit = text[at] - '0';
    if (__builtin_mul_overflow(value, int64_t{10}, &value) ||
        __builtin_sub_overflow(value, digit, &value))  // downwards: the least one fits
      return false;
  }
  if (!minus && __builtin_sub_overflow(int64_t{0}, value, &value)) return false;
  *out = value;
  return true;
}

bool ParseReal(const char* text, size_t bytes, double* out) {
  char copy[800];
  const char* point = std::localeconv()->decimal_point;
  const size_t point_bytes = std::strlen(point);
  size_t size = 0;
  for (size_t i = 0; i < bytes; ++i) {
    if (size + point_bytes + 1 >= sizeof copy) return false;
    if (text[i] == '.') {
      std::memcpy(copy + size, point, point_bytes);
      size += point_bytes;
    } else {
      copy[size++] = text[i];
    }
  }
  copy[size] = 0;
  char* end = nullptr;
  *out = std::strtod(copy, &end);
  return end == copy + size && size > 0;
}

size_t WriteReal(double value, char* out) {
  if (std::isnan(value)) return std::memcpy(out, "nan", 3), 3;
  if (std::isinf(value)) {
    const size_t bytes = value < 0 ? 4 : 3;
    return std::memcpy(out, value < 0 ? "-inf" : "inf", bytes), bytes;
  }
  char made[64];
  for (int precision = 0; precision < 17; ++precision) {
    std::snprintf(made, sizeof made, "%.*e", precision, value);
    if (std::strtod(made, nullptr) == value) break;
  }
  // d[.ddd]e±xx: the digits apart from the exponent.
  char digits[32];
  size_t count = 0, size = 0;
  const char* exponent_at = std::strchr(made, 'e');
  for (const char* p = made; p < exponent_at; ++p) {
    if (*p >= '0' && *p <= '9') digits[count++] = *p;
  }
  const int exponent = std::atoi(exponent_at + 1);
  if (std::signbit(value)) out[size++] = '-';
  if (exponent < -4 || exponent >= 16) {
    out[size++] = digits[0];
    if (count > 1) out[size++] = '.';
    for (size_t i = 1; i < count; ++i) out[size++] = digits[i];
    const int written = std::snprintf(out + size, 8, "e%c%02d", exponent < 0 ? '-' : '+',
                                      exponent < 0 ? -exponent : exponent);
    return size + static_cast<size_t>(written);
  }
  if (exponent < 0) {
    out[size++] = '0';
    out[size++] = '.';
    for (int i = -1; i > exponent; --i) out[size++] = '0';
    for (size_t i = 0; i < count; ++i) out[size++] = digits[i];
    return size;
  }
  const auto whole = static_cast<size_t>(exponent) + 1;
  for (size_t i = 0; i < whole; ++i) out[size++] = i < count ? digits[i] : '0';
  out[size++] = '.';
  if (whole >= count) out[size++] = '0';
  for (size_t i = whole; i < count; ++i) out[size++] = digits[i];
  return size;
}

}  // namespace smelt::chat
