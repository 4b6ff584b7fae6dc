// The vector vocabulary of simd.h on AVX-512 (F, BW, DQ, VL, VNNI).
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define SMELT_INLINE static inline __attribute__((always_inline))
#define SMELT_INLINE_MEMBER inline __attribute__((always_inline))

namespace smelt {
namespace avx512 {

struct Vf {
  __m512 v;
};
struct Vi {
  __m512i v;
};
struct Vb {
  __m512i v;
};
using Vb8 = Vb;

constexpr int kCodeBias8 = 0;  // what Dot8 subtracts from a code by itself
constexpr int kHighShift = 4;  // how far RawHighNibbles are from their place
// Linear tiles, rows x panels: accumulators fill the registers, and each loaded input serves
// `panels` products.
constexpr int kIntRows = 6, kIntPanels = 2;
constexpr int kFloatRows = 12, kFloatPanels = 2;
constexpr int kColumnUnroll = 8;             // columns of a float tile in one step
constexpr int kDecodeRows = 4;               // query rows that share a widened key
constexpr int kGemmRows = 6, kGemmCols = 4;  // plain matrix tile: rows x vectors of 16

SMELT_INLINE Vf Zero() { return {_mm512_setzero_ps()}; }
SMELT_INLINE Vf Set1(float x) { return {_mm512_set1_ps(x)}; }
SMELT_INLINE Vf Load(const float* p) { return {_mm512_loadu_ps(p)}; }
SMELT_INLINE __mmask16 First(int64_t n) {
  return n >= 16 ? 0xFFFF : static_cast<__mmask16>((1u << n) - 1);
}
SMELT_INLINE Vf LoadN(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(First(n), p)}; }
SMELT_INLINE void Store(float* p, Vf a) { _mm512_storeu_ps(p, a.v); }
SMELT_INLINE void StoreN(float* p, Vf a, int64_t n) { _mm512_mask_storeu_ps(p, First(n), a.v); }
SMELT_INLINE Vf operator+(Vf a, Vf b) { return {_mm512_add_ps(a.v, b.v)}; }
SMELT_INLINE Vf operator-(Vf a, Vf b) { return {_mm512_sub_ps(a.v, b.v)}; }
SMELT_INLINE Vf operator*(Vf a, Vf b) { return {_mm512_mul_ps(a.v, b.v)}; }
SMELT_INLINE Vf operator/(Vf a, Vf b) { return {_mm512_div_ps(a.v, b.v)}; }
SMELT_INLINE Vf Fma(Vf a, Vf b, Vf c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
SMELT_INLINE Vf Max(Vf a, Vf b) { return {_mm512_max_ps(a.v, b.v)}; }
SMELT_INLINE Vf Min(Vf a, Vf b) { return {_mm512_min_ps(a.v, b.v)}; }
SMELT_INLINE Vf Abs(Vf a) { return {_mm512_abs_ps(a.v)}; }
SMELT_INLINE Vf Sqrt(Vf a) { return {_mm512_sqrt_ps(a.v)}; }
SMELT_INLINE Vf IfLess(Vf a, Vf b, Vf yes, Vf no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}
SMELT_INLINE float ReduceAdd(Vf a) { return _mm512_reduce_add_ps(a.v); }
SMELT_INLINE float ReduceMax(Vf a) { return _mm512_reduce_max_ps(a.v); }

SMELT_INLINE Vi SetI(int32_t x) { return {_mm512_set1_epi32(x)}; }
SMELT_INLINE Vi operator+(Vi a, Vi b) { return {_mm512_add_epi32(a.v, b.v)}; }
SMELT_INLINE Vi operator-(Vi a, Vi b) { return {_mm512_sub_epi32(a.v, b.v)}; }
SMELT_INLINE Vi operator*(Vi a, Vi b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
SMELT_INLINE Vi operator&(Vi a, Vi b) { return {_mm512_and_si512(a.v, b.v)}; }
template <int kBits>
SMELT_INLINE Vi Shl(Vi a) {
  return {_mm512_slli_epi32(a.v, kBits)};
}
template <int kBits>
SMELT_INLINE Vi Shr(Vi a) {
  return {_mm512_srli_epi32(a.v, kBits)};
}
template <int kBits>
SMELT_INLINE Vi Sra(Vi a) {
  return {_mm512_srai_epi32(a.v, kBits)};
}
SMELT_INLINE Vi ToInt(Vf a) { return {_mm512_cvtps_epi32(a.v)}; }  // nearest even
SMELT_INLINE Vf ToFloat(Vi a) { return {_mm512_cvtepi32_ps(a.v)}; }
SMELT_INLINE Vf AsFloat(Vi a) { return {_mm512_castsi512_ps(a.v)}; }
SMELT_INLINE Vi AsInt(Vf a) { return {_mm512_castps_si512(a.v)}; }
SMELT_INLINE int32_t ReduceAdd(Vi a) { return _mm512_reduce_add_epi32(a.v); }
SMELT_INLINE Vi LoadI(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
SMELT_INLINE void StoreI(int32_t* p, Vi a) { _mm512_storeu_si512(p, a.v); }

SMELT_INLINE Vf LoadF16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
SMELT_INLINE Vf LoadBf16(const uint16_t* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
}
SMELT_INLINE Vf LoadI8(const int8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
}
SMELT_INLINE Vi LoadU8(const uint8_t* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
SMELT_INLINE void StoreF16(uint16_t* p, Vf a) {
  const __m256i half = _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
}
SMELT_INLINE void StoreI8(int8_t* p, Vi a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a.v));
}
SMELT_INLINE void StoreU16(uint16_t* p, Vi a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a.v));
}

// to[i * stride + r] = element i of rows[r], for four rows.
SMELT_INLINE void StoreColumns(const Vf* rows, float* to, int64_t stride) {
  const __m512 ab = _mm512_unpacklo_ps(rows[0].v, rows[1].v),
               ab2 = _mm512_unpackhi_ps(rows[0].v, rows[1].v),
               cd = _mm512_unpacklo_ps(rows[2].v, rows[3].v),
               cd2 = _mm512_unpackhi_ps(rows[2].v, rows[3].v);
  const __m512d low = _mm512_castps_pd(ab), low2 = _mm512_castps_pd(ab2),
                high = _mm512_castps_pd(cd), high2 = _mm512_castps_pd(cd2);
  const __m512d columns[4] = {_mm512_unpacklo_pd(low, high), _mm512_unpackhi_pd(low, high),
                              _mm512_unpacklo_pd(low2, high2), _mm512_unpackhi_pd(low2, high2)};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i, to += stride) {  // a lane holds every fourth column
    const __m512 four = _mm512_castpd_ps(columns[i]);
    _mm_storeu_ps(to, _mm512_castps512_ps128(four));
    _mm_storeu_ps(to + 4 * stride, _mm512_extractf32x4_ps(four, 1));
    _mm_storeu_ps(to + 8 * stride, _mm512_extractf32x4_ps(four, 2));
    _mm_storeu_ps(to + 12 * stride, _mm512_extractf32x4_ps(four, 3));
  }
}

SMELT_INLINE Vb LoadB(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
SMELT_INLINE Vb LowNibbles(Vb b) { return {_mm512_and_si512(b.v, _mm512_set1_epi8(15))}; }
SMELT_INLINE Vb HighNibbles(Vb b) {
  return {_mm512_and_si512(_mm512_srli_epi16(b.v, 4), _mm512_set1_epi8(15))};
}
SMELT_INLINE Vb RawHighNibbles(Vb b) { return {_mm512_and_si512(b.v, _mm512_set1_epi8(-16))}; }
SMELT_INLINE Vi AsInt(Vb b) { return {b.v}; }
SMELT_INLINE Vb8 Prepare8(Vb b) { return b; }
// acc[r] += sum over c of w[r][c] * q[c]: codes up to 15, codes up to 255. Assembly, because GCC
// copies every accumulator of the intrinsic and loads the broadcast apart: three instructions
// instead of one.
SMELT_INLINE Vi Dot8(Vi acc, Vb8 w, const int32_t* q) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc.v) : "v"(w.v), "m"(*q));
  return acc;
}
SMELT_INLINE Vi Dot4(Vi acc, Vb w, const int32_t* q) { return Dot8(acc, w, q); }
SMELT_INLINE Vi DotQuad(Vi acc, Vb w, Vi quads) {
  asm("vpdpbusd %2, %1, %0" : "+v"(acc.v) : "v"(w.v), "v"(quads.v));
  return acc;
}

// Folds 16 vectors into one: element i of the result is the sum (or maximum) of rows[i].
template <typename Op>
SMELT_INLINE __m512 FoldRows(const Vf* rows, const Op& op) {
  const auto pair = [&](__m512 a, __m512 b)
                        __attribute__((always_inline)) {  // in each lane of four
                          return op(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xDD));
                        };
  const auto lanes = [&](__m512 a, __m512 b) __attribute__((always_inline)) {
    return op(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
  };
  __m512 s[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    s[i] = pair(pair(rows[4 * i].v, rows[4 * i + 1].v), pair(rows[4 * i + 2].v, rows[4 * i + 3].v));
  }
  return lanes(lanes(s[0], s[1]), lanes(s[2], s[3]));
}
SMELT_INLINE Vf ReduceRows(const Vf* rows) {
  return {FoldRows(rows, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); })};
}
SMELT_INLINE Vf MaxRows(const Vf* rows) {
  return {FoldRows(rows, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); })};
}

}  // namespace avx512
}  // namespace smelt
