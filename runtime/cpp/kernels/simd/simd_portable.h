// The vector vocabulary of simd.h in the vector extension of GCC and Clang: four vectors of 16
// bytes, which every SIMD machine has (SSE2, NEON, WASM), and which compilers turn into plain code
// elsewhere.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "../half.h"

#define SMELT_INLINE static inline __attribute__((always_inline))
#define SMELT_INLINE_MEMBER inline __attribute__((always_inline))

namespace smelt {
namespace portable {

typedef float F4 __attribute__((vector_size(16)));
typedef int32_t I4 __attribute__((vector_size(16)));
typedef uint32_t U4 __attribute__((vector_size(16)));
typedef int16_t S8 __attribute__((vector_size(16)));
typedef uint16_t H8 __attribute__((vector_size(16)));

struct Vf {
  F4 a, b, c, d;
};
struct Vi {
  I4 a, b, c, d;
};
struct Vb {
  U4 a, b, c, d;
};
using Vb8 = Vb;

constexpr int kCodeBias8 = 0;
constexpr int kHighShift = 0;  // products of shifted nibbles would not fit 16 bits
// Linear tiles, rows x panels: accumulators fill the registers, and each loaded input serves
// `panels` products.
constexpr int kIntRows = 4, kIntPanels = 1;
constexpr int kFloatRows = 4, kFloatPanels = 1;
constexpr int kColumnUnroll = 1;  // a loop: its columns lie in memory anyway
constexpr int kDecodeRows = 1;    // query rows that share a widened key
constexpr int kGemmRows = 2, kGemmCols = 1;

// Applies f to each quarter.
template <typename V, typename F, typename... X>
SMELT_INLINE V Map(F f, const X&... x) {
  return {f(x.a...), f(x.b...), f(x.c...), f(x.d...)};
}
template <typename V>
SMELT_INLINE V LoadAs(const void* p) {
  static_assert(sizeof(V) == 64, "four quarters");
  V r;
  memcpy(&r, p, 64);
  return r;
}

SMELT_INLINE Vf Set1(float x) {
  const F4 v = {x, x, x, x};
  return {v, v, v, v};
}
SMELT_INLINE Vf Zero() { return Set1(0.0f); }
SMELT_INLINE Vf Load(const float* p) { return LoadAs<Vf>(p); }
SMELT_INLINE Vf LoadN(const float* p, int64_t n) {
  if (n >= 16) return Load(p);
  float part[16] = {};
  memcpy(part, p, static_cast<size_t>(n) * 4);
  return Load(part);
}
SMELT_INLINE void Store(float* p, Vf a) { memcpy(p, &a, 64); }
SMELT_INLINE void StoreN(float* p, Vf a, int64_t n) {
  memcpy(p, &a, static_cast<size_t>(n < 16 ? n : 16) * 4);
}
SMELT_INLINE Vf operator+(Vf x, Vf y) { return {x.a + y.a, x.b + y.b, x.c + y.c, x.d + y.d}; }
SMELT_INLINE Vf operator-(Vf x, Vf y) { return {x.a - y.a, x.b - y.b, x.c - y.c, x.d - y.d}; }
SMELT_INLINE Vf operator*(Vf x, Vf y) { return {x.a * y.a, x.b * y.b, x.c * y.c, x.d * y.d}; }
SMELT_INLINE Vf operator/(Vf x, Vf y) { return {x.a / y.a, x.b / y.b, x.c / y.c, x.d / y.d}; }
SMELT_INLINE Vf Fma(Vf x, Vf y, Vf z) { return x * y + z; }
SMELT_INLINE Vf Max(Vf x, Vf y) {
  return Map<Vf>([](F4 p, F4 q) { return p > q ? p : q; }, x, y);
}
SMELT_INLINE Vf Min(Vf x, Vf y) {
  return Map<Vf>([](F4 p, F4 q) { return p < q ? p : q; }, x, y);
}
SMELT_INLINE Vf IfLess(Vf x, Vf y, Vf yes, Vf no) {
  return Map<Vf>([](F4 p, F4 q, F4 t, F4 f) { return p < q ? t : f; }, x, y, yes, no);
}
SMELT_INLINE Vf Sqrt(Vf x) {
  return Map<Vf>(
      [](F4 p) { return F4{std::sqrt(p[0]), std::sqrt(p[1]), std::sqrt(p[2]), std::sqrt(p[3])}; },
      x);
}
SMELT_INLINE float ReduceAdd(Vf x) {
  const F4 s = (x.a + x.c) + (x.b + x.d);
  return (s[0] + s[2]) + (s[1] + s[3]);
}
SMELT_INLINE float ReduceMax(Vf x) {
  const Vf m = Max({x.a, x.b, x.a, x.b}, {x.c, x.d, x.c, x.d});
  float top = m.a[0];
  for (int i = 0; i < 4; ++i) {
    top = m.a[i] > top ? m.a[i] : top;
    top = m.b[i] > top ? m.b[i] : top;
  }
  return top;
}

SMELT_INLINE Vi SetI(int32_t x) {
  const I4 v = {x, x, x, x};
  return {v, v, v, v};
}
SMELT_INLINE Vi operator+(Vi x, Vi y) { return {x.a + y.a, x.b + y.b, x.c + y.c, x.d + y.d}; }
SMELT_INLINE Vi operator-(Vi x, Vi y) { return {x.a - y.a, x.b - y.b, x.c - y.c, x.d - y.d}; }
SMELT_INLINE Vi operator*(Vi x, Vi y) { return {x.a * y.a, x.b * y.b, x.c * y.c, x.d * y.d}; }
SMELT_INLINE Vi operator&(Vi x, Vi y) { return {x.a & y.a, x.b & y.b, x.c & y.c, x.d & y.d}; }
template <int kBits>
SMELT_INLINE Vi Shl(Vi x) {
  return Map<Vi>([](I4 p) { return (I4)((U4)p << kBits); }, x);
}
template <int kBits>
SMELT_INLINE Vi Shr(Vi x) {
  return Map<Vi>([](I4 p) { return (I4)((U4)p >> kBits); }, x);
}
template <int kBits>
SMELT_INLINE Vi Sra(Vi x) {
  return {x.a >> kBits, x.b >> kBits, x.c >> kBits, x.d >> kBits};
}
SMELT_INLINE Vf AsFloat(Vi x) { return {(F4)x.a, (F4)x.b, (F4)x.c, (F4)x.d}; }
SMELT_INLINE Vi AsInt(Vf x) { return {(I4)x.a, (I4)x.b, (I4)x.c, (I4)x.d}; }
SMELT_INLINE Vf Abs(Vf x) { return AsFloat(AsInt(x) & SetI(0x7FFFFFFF)); }
SMELT_INLINE Vf ToFloat(Vi x) {
  return Map<Vf>([](I4 p) { return __builtin_convertvector(p, F4); }, x);
}
// Nearest even for |x| < 2^22, all that the kernels ask: the sum with 1.5 * 2^23 has the integer in
// its low bits.
SMELT_INLINE Vi ToInt(Vf x) {
  const Vf magic = Set1(12582912.0f);
  return AsInt(x + magic) - AsInt(magic);
}
SMELT_INLINE int32_t ReduceAdd(Vi x) {
  const I4 s = x.a + x.b + x.c + x.d;
  return s[0] + s[1] + s[2] + s[3];
}
SMELT_INLINE Vi LoadI(const int32_t* p) { return LoadAs<Vi>(p); }
SMELT_INLINE void StoreI(int32_t* p, Vi a) { memcpy(p, &a, 64); }

template <typename V, typename T, typename F>
SMELT_INLINE V Gather(const T* p, F f) {
  decltype(f(p[0])) part[16];
  for (int i = 0; i < 16; ++i) part[i] = f(p[i]);
  return LoadAs<V>(part);
}
__attribute__((noinline, unused)) static void WidenF16(const uint16_t* p, float* y) {
  for (int i = 0; i < 16; ++i) y[i] = FloatOfF16(p[i]);
}
SMELT_INLINE Vf LoadF16(const uint16_t* p) {
  float part[16];
  WidenF16(p, part);
  return Load(part);
}
SMELT_INLINE Vf LoadBf16(const uint16_t* p) {
  return Gather<Vf>(p, [](uint16_t h) { return FloatOfBf16(h); });
}
SMELT_INLINE Vf LoadI8(const int8_t* p) {
  return Gather<Vf>(p, [](int8_t x) { return static_cast<float>(x); });
}
SMELT_INLINE Vi LoadU8(const uint8_t* p) {
  return Gather<Vi>(p, [](uint8_t x) { return static_cast<int32_t>(x); });
}
SMELT_INLINE void StoreF16(uint16_t* p, Vf a) {
  float part[16];
  Store(part, a);
  for (int i = 0; i < 16; ++i) p[i] = F16OfFloat(part[i]);
}
SMELT_INLINE void StoreI8(int8_t* p, Vi a) {
  int32_t part[16];
  StoreI(part, a);
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(part[i]);
}
SMELT_INLINE void StoreU16(uint16_t* p, Vi a) {
  int32_t part[16];
  StoreI(part, a);
  for (int i = 0; i < 16; ++i) p[i] = static_cast<uint16_t>(part[i]);
}

SMELT_INLINE Vb LoadB(const uint8_t* p) { return LoadAs<Vb>(p); }
SMELT_INLINE Vb LowNibbles(Vb b) {
  return Map<Vb>([](U4 p) { return p & 0x0F0F0F0Fu; }, b);
}
SMELT_INLINE Vb HighNibbles(Vb b) {
  return Map<Vb>([](U4 p) { return (p >> 4) & 0x0F0F0F0Fu; }, b);
}
SMELT_INLINE Vb RawHighNibbles(Vb b) { return HighNibbles(b); }
SMELT_INLINE Vi AsInt(Vb b) { return {(I4)b.a, (I4)b.b, (I4)b.c, (I4)b.d}; }
SMELT_INLINE Vb8 Prepare8(Vb b) { return b; }

// Bytes as 16-bit lanes, even and odd ones apart; a product of a code and a quantized input fits 16
// bits.
SMELT_INLINE S8 EvenSigned(S8 x) { return (S8)((H8)x << 8) >> 8; }
SMELT_INLINE I4 AddPairs(I4 acc, S8 products) {
  const I4 pairs = (I4)products;
  return acc + (pairs >> 16) + ((I4)((U4)pairs << 16) >> 16);
}
SMELT_INLINE Vi Dot4(Vi acc, Vb w, const int32_t* q) {
  const S8 x = (S8)I4{*q, *q, *q, *q}, even = EvenSigned(x), odd = x >> 8;
  return Map<Vi>(
      [&](I4 sum, U4 u) {
        return AddPairs(sum, (S8)((H8)u & 0xFF) * even + (S8)((H8)u >> 8) * odd);
      },
      acc, w);
}
SMELT_INLINE Vi Dot8(Vi acc, Vb8 w, const int32_t* q) {
  const S8 x = (S8)I4{*q, *q, *q, *q}, even = EvenSigned(x), odd = x >> 8;
  return Map<Vi>(
      [&](I4 sum, U4 u) {
        return AddPairs(AddPairs(sum, (S8)((H8)u & 0xFF) * even), (S8)((H8)u >> 8) * odd);
      },
      acc, w);
}
// Folds 16 vectors into one: element i of the result is the sum (or maximum) of rows[i].
SMELT_INLINE Vf ReduceRows(const Vf* rows) {
  float part[16];
  for (int i = 0; i < 16; ++i) part[i] = ReduceAdd(rows[i]);
  return Load(part);
}
SMELT_INLINE Vf MaxRows(const Vf* rows) {
  float part[16];
  for (int i = 0; i < 16; ++i) part[i] = ReduceMax(rows[i]);
  return Load(part);
}

}  // namespace portable
}  // namespace smelt
