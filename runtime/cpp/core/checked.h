// Arithmetic on sizes that come out of a file: false instead of a wrapped result.
#pragma once

#include <cstddef>
#include <cstdint>

namespace smelt {

template <typename T>
inline bool CheckedAdd(T a, T b, T* out) {
  return !__builtin_add_overflow(a, b, out);
}
template <typename T>
inline bool CheckedSub(T a, T b, T* out) {
  return !__builtin_sub_overflow(a, b, out);
}
template <typename T>
inline bool CheckedMul(T a, T b, T* out) {
  return !__builtin_mul_overflow(a, b, out);
}

constexpr int64_t kAlign = 64;
// Memory and files stay far below this, so sums of two such sizes cannot wrap.
constexpr int64_t kMaxBytes = int64_t{1} << 46;

inline int64_t AlignUp(int64_t bytes) { return (bytes + kAlign - 1) & ~(kAlign - 1); }

inline int64_t FloorDiv(int64_t a, int64_t b) {  // b > 0
  const int64_t q = a / b;
  return q * b > a ? q - 1 : q;
}

}  // namespace smelt
