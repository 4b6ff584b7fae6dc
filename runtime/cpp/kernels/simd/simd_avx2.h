// The vector vocabulary of simd.h on AVX2 + FMA + F16C: two registers of 8 for each vector of 16.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define SMELT_INLINE static inline __attribute__((always_inline))
#define SMELT_INLINE_MEMBER inline __attribute__((always_inline))

namespace smelt {
namespace avx2 {

struct Vf {
  __m256 lo, hi;
};
struct Vi {
  __m256i lo, hi;
};
struct Vb {
  __m256i lo, hi;
};
struct Vb8 {
  Vb magnitude, sign;
};

// maddubs saturates at 2 * 255 * 127, so 8-bit codes are taken relative to 128 as magnitude and
// sign.
constexpr int kCodeBias8 = 128;
constexpr int kHighShift = 0;  // products of shifted nibbles would not fit 16 bits
// Linear tiles, rows x panels: accumulators fill the registers, and each loaded input serves
// `panels` products.
constexpr int kIntRows = 4, kIntPanels = 1;
constexpr int kFloatRows = 4, kFloatPanels = 1;
constexpr int kColumnUnroll = 8;  // columns of a float tile in one step
constexpr int kDecodeRows = 4;    // query rows that share a widened key
constexpr int kGemmRows = 6, kGemmCols = 1;

SMELT_INLINE Vf Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
SMELT_INLINE Vf Set1(float x) {
  const __m256 v = _mm256_set1_ps(x);
  return {v, v};
}
SMELT_INLINE Vf Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
SMELT_INLINE __m256i First(int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(n)), lane);
}
SMELT_INLINE Vf LoadN(const float* p, int64_t n) {
  if (n >= 16) return Load(p);
  if (n <= 8) return {_mm256_maskload_ps(p, First(n)), _mm256_setzero_ps()};
  return {_mm256_loadu_ps(p), _mm256_maskload_ps(p + 8, First(n - 8))};
}
SMELT_INLINE void Store(float* p, Vf a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
SMELT_INLINE void StoreN(float* p, Vf a, int64_t n) {
  if (n >= 16) return Store(p, a);
  if (n <= 8) return _mm256_maskstore_ps(p, First(n), a.lo);
  _mm256_storeu_ps(p, a.lo);
  _mm256_maskstore_ps(p + 8, First(n - 8), a.hi);
}
SMELT_INLINE Vf operator+(Vf a, Vf b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
SMELT_INLINE Vf operator-(Vf a, Vf b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
SMELT_INLINE Vf operator*(Vf a, Vf b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
SMELT_INLINE Vf operator/(Vf a, Vf b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
SMELT_INLINE Vf Fma(Vf a, Vf b, Vf c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
SMELT_INLINE Vf Max(Vf a, Vf b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
SMELT_INLINE Vf Min(Vf a, Vf b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
SMELT_INLINE Vf Abs(Vf a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
SMELT_INLINE Vf Sqrt(Vf a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
SMELT_INLINE Vf IfLess(Vf a, Vf b, Vf yes, Vf no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
          _mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
SMELT_INLINE float ReduceAdd(Vf a) {
  const __m256 s = _mm256_add_ps(a.lo, a.hi);
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}
SMELT_INLINE float ReduceMax(Vf a) {
  const __m256 s = _mm256_max_ps(a.lo, a.hi);
  __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_max_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}

SMELT_INLINE Vi SetI(int32_t x) {
  const __m256i v = _mm256_set1_epi32(x);
  return {v, v};
}
SMELT_INLINE Vi operator+(Vi a, Vi b) {
  return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
SMELT_INLINE Vi operator-(Vi a, Vi b) {
  return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}
SMELT_INLINE Vi operator*(Vi a, Vi b) {
  return {_mm256_mullo_epi32(a.lo, b.lo), _mm256_mullo_epi32(a.hi, b.hi)};
}
SMELT_INLINE Vi operator&(Vi a, Vi b) {
  return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)};
}
template <int kBits>
SMELT_INLINE Vi Shl(Vi a) {
  return {_mm256_slli_epi32(a.lo, kBits), _mm256_slli_epi32(a.hi, kBits)};
}
template <int kBits>
SMELT_INLINE Vi Shr(Vi a) {
  return {_mm256_srli_epi32(a.lo, kBits), _mm256_srli_epi32(a.hi, kBits)};
}
template <int kBits>
SMELT_INLINE Vi Sra(Vi a) {
  return {_mm256_srai_epi32(a.lo, kBits), _mm256_srai_epi32(a.hi, kBits)};
}
SMELT_INLINE Vi ToInt(Vf a) { return {_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }
SMELT_INLINE Vf ToFloat(Vi a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
SMELT_INLINE Vf AsFloat(Vi a) { return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
SMELT_INLINE Vi AsInt(Vf a) { return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
SMELT_INLINE int32_t ReduceAdd(Vi a) {
  const __m256i s = _mm256_add_epi32(a.lo, a.hi);
  __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
  t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(t, _mm_shuffle_epi32(t, 0xB1)));
}
SMELT_INLINE Vi LoadI(const int32_t* p) {
  const __m256i* v = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}
SMELT_INLINE void StoreI(int32_t* p, Vi a) {
  __m256i* v = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(v, a.lo);
  _mm256_storeu_si256(v + 1, a.hi);
}

SMELT_INLINE __m128i Load128(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
SMELT_INLINE __m128i Load64(const void* p) {
  return _mm_loadl_epi64(static_cast<const __m128i*>(p));
}
SMELT_INLINE Vf LoadF16(const uint16_t* p) {
  return {_mm256_cvtph_ps(Load128(p)), _mm256_cvtph_ps(Load128(p + 8))};
}
SMELT_INLINE Vf LoadBf16(const uint16_t* p) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(Load128(p)), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(Load128(p + 8)), 16))};
}
SMELT_INLINE Vf LoadI8(const int8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(Load64(p))),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(Load64(p + 8)))};
}
SMELT_INLINE Vi LoadU8(const uint8_t* p) {
  return {_mm256_cvtepu8_epi32(Load64(p)), _mm256_cvtepu8_epi32(Load64(p + 8))};
}
SMELT_INLINE void StoreF16(uint16_t* p, Vf a) {
  __m128i* v = reinterpret_cast<__m128i*>(p);
  _mm_storeu_si128(v, _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  _mm_storeu_si128(v + 1, _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
SMELT_INLINE __m256i Narrow16(Vi a, bool is_signed) {  // 16 values of 16 bits, in order
  const __m256i mixed =
      is_signed ? _mm256_packs_epi32(a.lo, a.hi) : _mm256_packus_epi32(a.lo, a.hi);
  return _mm256_permute4x64_epi64(mixed, 0xD8);
}
SMELT_INLINE void StoreI8(int8_t* p, Vi a) {
  const __m256i words = Narrow16(a, true);
  const __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
SMELT_INLINE void StoreU16(uint16_t* p, Vi a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), Narrow16(a, false));
}

SMELT_INLINE Vb LoadB(const uint8_t* p) {
  const __m256i* v = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}
SMELT_INLINE Vb LowNibbles(Vb b) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(b.lo, mask), _mm256_and_si256(b.hi, mask)};
}
SMELT_INLINE Vb HighNibbles(Vb b) {
  return LowNibbles({_mm256_srli_epi16(b.lo, 4), _mm256_srli_epi16(b.hi, 4)});
}
SMELT_INLINE Vb RawHighNibbles(Vb b) { return HighNibbles(b); }
SMELT_INLINE Vi AsInt(Vb b) { return {b.lo, b.hi}; }
SMELT_INLINE Vb8 Prepare8(Vb b) {
  const __m256i flip = _mm256_set1_epi8(-128);
  const Vb sign = {_mm256_xor_si256(b.lo, flip), _mm256_xor_si256(b.hi, flip)};
  return {{_mm256_abs_epi8(sign.lo), _mm256_abs_epi8(sign.hi)}, sign};
}
SMELT_INLINE __m256i Quad(__m256i acc, __m256i u, __m256i s) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1)));
}
SMELT_INLINE Vi Dot4(Vi acc, Vb w, const int32_t* q) {
  const __m256i x = _mm256_set1_epi32(*q);
  return {Quad(acc.lo, w.lo, x), Quad(acc.hi, w.hi, x)};
}
SMELT_INLINE Vi Dot8(Vi acc, Vb8 w, const int32_t* q) {
  const __m256i x = _mm256_set1_epi32(*q);
  return {Quad(acc.lo, w.magnitude.lo, _mm256_sign_epi8(x, w.sign.lo)),
          Quad(acc.hi, w.magnitude.hi, _mm256_sign_epi8(x, w.sign.hi))};
}

template <typename Op>
SMELT_INLINE __m256 Fold8(const Vf* r, const Op& op) {
  const auto row = [&](int i) { return op(r[i].lo, r[i].hi); };
  const auto pair = [&](__m256 a, __m256 b) {
    return op(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xDD));
  };
  const __m256 a = pair(pair(row(0), row(1)), pair(row(2), row(3)));
  const __m256 b = pair(pair(row(4), row(5)), pair(row(6), row(7)));
  return op(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}
// Folds 16 vectors into one: element i of the result is the sum (or maximum) of rows[i].
SMELT_INLINE Vf ReduceRows(const Vf* rows) {
  const auto add = [](__m256 a, __m256 b) { return _mm256_add_ps(a, b); };
  return {Fold8(rows, add), Fold8(rows + 8, add)};
}
SMELT_INLINE Vf MaxRows(const Vf* rows) {
  const auto max = [](__m256 a, __m256 b) { return _mm256_max_ps(a, b); };
  return {Fold8(rows, max), Fold8(rows + 8, max)};
}

}  // namespace avx2
}  // namespace smelt
