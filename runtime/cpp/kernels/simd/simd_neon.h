// The vector vocabulary of simd.h on NEON with dot products (ARMv8.2): four registers of 4 for each
// vector of 16. With int8 matrix products (i8mm) everything is the same but the prefill of
// linear_int.cc, so this header serves both instruction sets.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#define SMELT_INLINE static inline __attribute__((always_inline))
#define SMELT_INLINE_MEMBER inline __attribute__((always_inline))

namespace smelt {
namespace SMELT_ISA_NS {

struct Vf {
  float32x4_t a, b, c, d;
};
struct Vi {
  int32x4_t a, b, c, d;
};
struct Vb {
  uint8x16_t a, b, c, d;
};
struct Vb8 {
  int8x16_t a, b, c, d;
};

constexpr int kCodeBias8 = 128;  // products are of signed bytes
constexpr int kHighShift = 0;
// Linear tiles, rows x panels: accumulators fill the registers, and each loaded input serves
// `panels` products.
constexpr int kIntRows = 4, kIntPanels = 1;
constexpr int kFloatRows = 4, kFloatPanels = 1;
constexpr int kColumnUnroll = 8;  // columns of a float tile in one step
constexpr int kDecodeRows = 1;    // query rows that share a widened key
constexpr int kGemmRows = 6, kGemmCols = 1;

// Applies f to each quarter.
template <typename V, typename F, typename... X>
SMELT_INLINE V Map(F f, const X&... x) {
  return {f(x.a...), f(x.b...), f(x.c...), f(x.d...)};
}

SMELT_INLINE Vf Set1(float x) {
  const float32x4_t v = vdupq_n_f32(x);
  return {v, v, v, v};
}
SMELT_INLINE Vf Zero() { return Set1(0.0f); }
SMELT_INLINE Vf Load(const float* p) {
  return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
SMELT_INLINE Vf LoadN(const float* p, int64_t n) {
  if (n >= 16) return Load(p);
  float part[16] = {};
  memcpy(part, p, static_cast<size_t>(n) * 4);
  return Load(part);
}
SMELT_INLINE void Store(float* p, Vf x) {
  vst1q_f32(p, x.a), vst1q_f32(p + 4, x.b), vst1q_f32(p + 8, x.c), vst1q_f32(p + 12, x.d);
}
SMELT_INLINE void StoreN(float* p, Vf x, int64_t n) {
  if (n >= 16) return Store(p, x);
  float part[16];
  Store(part, x);
  memcpy(p, part, static_cast<size_t>(n) * 4);
}
SMELT_INLINE Vf operator+(Vf x, Vf y) { return Map<Vf>(vaddq_f32, x, y); }
SMELT_INLINE Vf operator-(Vf x, Vf y) { return Map<Vf>(vsubq_f32, x, y); }
SMELT_INLINE Vf operator*(Vf x, Vf y) { return Map<Vf>(vmulq_f32, x, y); }
SMELT_INLINE Vf operator/(Vf x, Vf y) { return Map<Vf>(vdivq_f32, x, y); }
SMELT_INLINE Vf Fma(Vf x, Vf y, Vf z) {
  return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c),
          vfmaq_f32(z.d, x.d, y.d)};
}
// As on x86, the second operand where one is not a number.
SMELT_INLINE float32x4_t MaxOf(float32x4_t p, float32x4_t q) {
  return vbslq_f32(vcgtq_f32(p, q), p, q);
}
SMELT_INLINE float32x4_t MinOf(float32x4_t p, float32x4_t q) {
  return vbslq_f32(vcltq_f32(p, q), p, q);
}
SMELT_INLINE Vf Max(Vf x, Vf y) {
  return {MaxOf(x.a, y.a), MaxOf(x.b, y.b), MaxOf(x.c, y.c), MaxOf(x.d, y.d)};
}
SMELT_INLINE Vf Min(Vf x, Vf y) {
  return {MinOf(x.a, y.a), MinOf(x.b, y.b), MinOf(x.c, y.c), MinOf(x.d, y.d)};
}
SMELT_INLINE Vf Abs(Vf x) {
  return {vabsq_f32(x.a), vabsq_f32(x.b), vabsq_f32(x.c), vabsq_f32(x.d)};
}
SMELT_INLINE Vf Sqrt(Vf x) {
  return {vsqrtq_f32(x.a), vsqrtq_f32(x.b), vsqrtq_f32(x.c), vsqrtq_f32(x.d)};
}
SMELT_INLINE Vf IfLess(Vf x, Vf y, Vf yes, Vf no) {
  return {vbslq_f32(vcltq_f32(x.a, y.a), yes.a, no.a), vbslq_f32(vcltq_f32(x.b, y.b), yes.b, no.b),
          vbslq_f32(vcltq_f32(x.c, y.c), yes.c, no.c), vbslq_f32(vcltq_f32(x.d, y.d), yes.d, no.d)};
}
SMELT_INLINE float ReduceAdd(Vf x) {
  return vaddvq_f32(vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d)));
}
SMELT_INLINE float ReduceMax(Vf x) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.a, x.c), vmaxq_f32(x.b, x.d)));
}

SMELT_INLINE Vi SetI(int32_t x) {
  const int32x4_t v = vdupq_n_s32(x);
  return {v, v, v, v};
}
SMELT_INLINE Vi operator+(Vi x, Vi y) {
  return {vaddq_s32(x.a, y.a), vaddq_s32(x.b, y.b), vaddq_s32(x.c, y.c), vaddq_s32(x.d, y.d)};
}
SMELT_INLINE Vi operator-(Vi x, Vi y) {
  return {vsubq_s32(x.a, y.a), vsubq_s32(x.b, y.b), vsubq_s32(x.c, y.c), vsubq_s32(x.d, y.d)};
}
SMELT_INLINE Vi operator*(Vi x, Vi y) {
  return {vmulq_s32(x.a, y.a), vmulq_s32(x.b, y.b), vmulq_s32(x.c, y.c), vmulq_s32(x.d, y.d)};
}
SMELT_INLINE Vi operator&(Vi x, Vi y) {
  return {vandq_s32(x.a, y.a), vandq_s32(x.b, y.b), vandq_s32(x.c, y.c), vandq_s32(x.d, y.d)};
}
SMELT_INLINE Vi Shifted(Vi x, int32_t left) {
  const int32x4_t by = vdupq_n_s32(left);
  return {vshlq_s32(x.a, by), vshlq_s32(x.b, by), vshlq_s32(x.c, by), vshlq_s32(x.d, by)};
}
template <int kBits>
SMELT_INLINE Vi Shl(Vi x) {
  return Shifted(x, kBits);
}
template <int kBits>
SMELT_INLINE Vi Sra(Vi x) {
  return Shifted(x, -kBits);
}
SMELT_INLINE int32x4_t ShrOf(int32x4_t x, int32x4_t by) {
  return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(x), by));
}
template <int kBits>
SMELT_INLINE Vi Shr(Vi x) {
  const int32x4_t by = vdupq_n_s32(-kBits);
  return {ShrOf(x.a, by), ShrOf(x.b, by), ShrOf(x.c, by), ShrOf(x.d, by)};
}
SMELT_INLINE Vi ToInt(Vf x) {  // nearest even
  return {vcvtnq_s32_f32(x.a), vcvtnq_s32_f32(x.b), vcvtnq_s32_f32(x.c), vcvtnq_s32_f32(x.d)};
}
SMELT_INLINE Vf ToFloat(Vi x) {
  return {vcvtq_f32_s32(x.a), vcvtq_f32_s32(x.b), vcvtq_f32_s32(x.c), vcvtq_f32_s32(x.d)};
}
SMELT_INLINE Vf AsFloat(Vi x) {
  return {vreinterpretq_f32_s32(x.a), vreinterpretq_f32_s32(x.b), vreinterpretq_f32_s32(x.c),
          vreinterpretq_f32_s32(x.d)};
}
SMELT_INLINE Vi AsInt(Vf x) {
  return {vreinterpretq_s32_f32(x.a), vreinterpretq_s32_f32(x.b), vreinterpretq_s32_f32(x.c),
          vreinterpretq_s32_f32(x.d)};
}
SMELT_INLINE int32_t ReduceAdd(Vi x) {
  return vaddvq_s32(vaddq_s32(vaddq_s32(x.a, x.c), vaddq_s32(x.b, x.d)));
}
SMELT_INLINE Vi LoadI(const int32_t* p) {
  return {vld1q_s32(p), vld1q_s32(p + 4), vld1q_s32(p + 8), vld1q_s32(p + 12)};
}
SMELT_INLINE void StoreI(int32_t* p, Vi x) {
  vst1q_s32(p, x.a), vst1q_s32(p + 4, x.b), vst1q_s32(p + 8, x.c), vst1q_s32(p + 12, x.d);
}

SMELT_INLINE Vf LoadF16(const uint16_t* p) {
  const float16x8_t low = vreinterpretq_f16_u16(vld1q_u16(p)),
                    high = vreinterpretq_f16_u16(vld1q_u16(p + 8));
  return {vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low), vcvt_f32_f16(vget_low_f16(high)),
          vcvt_high_f32_f16(high)};
}
SMELT_INLINE float32x4_t WidenBf16(uint16x4_t x) {
  return vreinterpretq_f32_u32(vshll_n_u16(x, 16));
}
SMELT_INLINE Vf LoadBf16(const uint16_t* p) {
  return {WidenBf16(vld1_u16(p)), WidenBf16(vld1_u16(p + 4)), WidenBf16(vld1_u16(p + 8)),
          WidenBf16(vld1_u16(p + 12))};
}
SMELT_INLINE Vf LoadI8(const int8_t* p) {
  const int8x16_t x = vld1q_s8(p);
  const int16x8_t low = vmovl_s8(vget_low_s8(x)), high = vmovl_high_s8(x);
  return ToFloat({vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)),
                  vmovl_high_s16(high)});
}
SMELT_INLINE Vi LoadU8(const uint8_t* p) {
  const uint8x16_t x = vld1q_u8(p);
  const uint16x8_t low = vmovl_u8(vget_low_u8(x)), high = vmovl_high_u8(x);
  return {vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))),
          vreinterpretq_s32_u32(vmovl_high_u16(low)),
          vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
          vreinterpretq_s32_u32(vmovl_high_u16(high))};
}
SMELT_INLINE void StoreF16(uint16_t* p, Vf x) {
  vst1q_u16(p, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(x.a), x.b)));
  vst1q_u16(p + 8, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(x.c), x.d)));
}
SMELT_INLINE void StoreU16(uint16_t* p, Vi x) {
  vst1q_u16(p, vuzp1q_u16(vreinterpretq_u16_s32(x.a), vreinterpretq_u16_s32(x.b)));
  vst1q_u16(p + 8, vuzp1q_u16(vreinterpretq_u16_s32(x.c), vreinterpretq_u16_s32(x.d)));
}
SMELT_INLINE void StoreI8(int8_t* p, Vi x) {
  const int8x16_t low =
      vreinterpretq_s8_s16(vuzp1q_s16(vreinterpretq_s16_s32(x.a), vreinterpretq_s16_s32(x.b)));
  const int8x16_t high =
      vreinterpretq_s8_s16(vuzp1q_s16(vreinterpretq_s16_s32(x.c), vreinterpretq_s16_s32(x.d)));
  vst1q_s8(p, vuzp1q_s8(low, high));
}

SMELT_INLINE Vb LoadB(const uint8_t* p) {
  return {vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)};
}
SMELT_INLINE Vb LowNibbles(Vb b) {
  const uint8x16_t mask = vdupq_n_u8(15);
  return {vandq_u8(b.a, mask), vandq_u8(b.b, mask), vandq_u8(b.c, mask), vandq_u8(b.d, mask)};
}
SMELT_INLINE Vb HighNibbles(Vb b) {
  return {vshrq_n_u8(b.a, 4), vshrq_n_u8(b.b, 4), vshrq_n_u8(b.c, 4), vshrq_n_u8(b.d, 4)};
}
SMELT_INLINE Vb RawHighNibbles(Vb b) { return HighNibbles(b); }
SMELT_INLINE Vi AsInt(Vb b) {
  return {vreinterpretq_s32_u8(b.a), vreinterpretq_s32_u8(b.b), vreinterpretq_s32_u8(b.c),
          vreinterpretq_s32_u8(b.d)};
}
SMELT_INLINE int8x16_t Signed(uint8x16_t x) { return vreinterpretq_s8_u8(x); }
SMELT_INLINE Vb8 Prepare8(Vb b) {
  const uint8x16_t flip = vdupq_n_u8(128);
  return {Signed(veorq_u8(b.a, flip)), Signed(veorq_u8(b.b, flip)), Signed(veorq_u8(b.c, flip)),
          Signed(veorq_u8(b.d, flip))};
}
// acc[r] += sum over c of w[r][c] * q[c]: codes up to 15, codes up to 255 less kCodeBias8.
SMELT_INLINE Vi Dot8(Vi acc, Vb8 w, const int32_t* q) {
  const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(*q));
  return {vdotq_s32(acc.a, w.a, x), vdotq_s32(acc.b, w.b, x), vdotq_s32(acc.c, w.c, x),
          vdotq_s32(acc.d, w.d, x)};
}
SMELT_INLINE Vi Dot4(Vi acc, Vb w, const int32_t* q) {
  return Dot8(acc, {Signed(w.a), Signed(w.b), Signed(w.c), Signed(w.d)}, q);
}

// Folds 16 vectors into one: element i of the result is the sum (or maximum) of rows[i].
template <typename Op, typename Pair>
SMELT_INLINE float32x4_t Fold4(const Vf* r, const Op& op, const Pair& pair) {
  const auto row = [&](int i) { return op(op(r[i].a, r[i].c), op(r[i].b, r[i].d)); };
  return pair(pair(row(0), row(1)), pair(row(2), row(3)));
}
SMELT_INLINE Vf ReduceRows(const Vf* rows) {
  const auto add = [](float32x4_t p, float32x4_t q) { return vaddq_f32(p, q); };
  const auto pair = [](float32x4_t p, float32x4_t q) { return vpaddq_f32(p, q); };
  return {Fold4(rows, add, pair), Fold4(rows + 4, add, pair), Fold4(rows + 8, add, pair),
          Fold4(rows + 12, add, pair)};
}
SMELT_INLINE Vf MaxRows(const Vf* rows) {
  const auto max = [](float32x4_t p, float32x4_t q) { return vmaxq_f32(p, q); };
  const auto pair = [](float32x4_t p, float32x4_t q) { return vpmaxq_f32(p, q); };
  return {Fold4(rows, max, pair), Fold4(rows + 4, max, pair), Fold4(rows + 8, max, pair),
          Fold4(rows + 12, max, pair)};
}

#if SMELT_KERNEL_ISA == SMELT_I8MM

// The products of 16 rows of weights with two rows of inputs, eight columns at a time.
struct Squares {
  int32x4_t pair[8];  // [2 rows][2 inputs] of weights' rows 2i and 2i + 1
};

// Rows 2i and 2i + 1 over eight columns, of two blocks of four columns.
SMELT_INLINE void Zip(Vb8 low, Vb8 high, int8x16_t* rows) {
  const auto zip = [](int8x16_t p, int8x16_t q, int8x16_t* to) {
    to[0] = vreinterpretq_s8_s32(vzip1q_s32(vreinterpretq_s32_s8(p), vreinterpretq_s32_s8(q)));
    to[1] = vreinterpretq_s8_s32(vzip2q_s32(vreinterpretq_s32_s8(p), vreinterpretq_s32_s8(q)));
  };
  zip(low.a, high.a, rows), zip(low.b, high.b, rows + 2);
  zip(low.c, high.c, rows + 4), zip(low.d, high.d, rows + 6);
}
// Two input rows over eight columns: their quads lie side by side, the next four columns `step` on.
SMELT_INLINE int8x16_t TwoInputs(const int32_t* q, int64_t step) {
  return vreinterpretq_s8_s32(vcombine_s32(vzip1_s32(vld1_s32(q), vld1_s32(q + step)),
                                           vzip2_s32(vld1_s32(q), vld1_s32(q + step))));
}
SMELT_INLINE void Multiply(Squares& acc, const int8x16_t* rows, int8x16_t x) {
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) acc.pair[i] = vmmlaq_s32(acc.pair[i], rows[i], x);
}
// The sums of one of the two inputs.
template <int kInput>
SMELT_INLINE Vi RowOf(const Squares& acc) {
  const auto half = [&](int i) {
    return kInput == 0 ? vuzp1q_s32(acc.pair[i], acc.pair[i + 1])
                       : vuzp2q_s32(acc.pair[i], acc.pair[i + 1]);
  };
  return {half(0), half(2), half(4), half(6)};
}

#endif

}  // namespace SMELT_ISA_NS
}  // namespace smelt
