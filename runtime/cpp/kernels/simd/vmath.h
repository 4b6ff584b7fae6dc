// Elementary functions on vectors of 16 floats, a few units in the last place.
#pragma once

#include "../kernels.h"
#include "simd.h"

namespace smelt {
namespace SMELT_ISA_NS {

SMELT_INLINE Vf Clamp(Vf x, float low, float high) { return Min(Max(x, Set1(low)), Set1(high)); }

// 2^n for integers n of [-126, 127].
SMELT_INLINE Vf PowerOfTwo(Vi n) { return AsFloat(Shl<23>(n + SetI(127))); }

// Cephes' expf: x = n ln 2 + r, and a polynomial in r.
SMELT_INLINE Vf ExpPart(Vf x, Vi* n) {
  *n = ToInt(x * Set1(1.44269504088896341f));
  const Vf nf = ToFloat(*n);
  Vf r = Fma(nf, Set1(-0.693359375f), x);
  r = Fma(nf, Set1(2.12194440e-4f), r);
  Vf p = Set1(1.9875691500e-4f);
  p = Fma(p, r, Set1(1.3981999507e-3f));
  p = Fma(p, r, Set1(8.3334519073e-3f));
  p = Fma(p, r, Set1(4.1665795894e-2f));
  p = Fma(p, r, Set1(1.6666665459e-1f));
  p = Fma(p, r, Set1(5.0000001201e-1f));
  return Fma(p * r, r, r) + Set1(1.0f);
}

// 0 below -104, infinity above 89.
SMELT_INLINE Vf Exp(Vf x) {
  Vi n;
  Vf p = ExpPart(Clamp(x, -104.0f, 89.0f), &n);
  const Vi half = Sra<1>(n);  // in two steps: 2^n alone leaves the normal range at both ends
  p = p * PowerOfTwo(half) * PowerOfTwo(n - half);
  return IfLess(x, Set1(-104.0f), Zero(), p);
}

// Of x up to 0, as a softmax has it: 0 below -87, where results leave the normal range.
SMELT_INLINE Vf ExpBelow(Vf x) {
  Vi n;
  const Vf p = ExpPart(Max(x, Set1(-87.0f)), &n);
  return IfLess(x, Set1(-87.0f), Zero(), AsFloat(AsInt(p) + Shl<23>(n)));
}

// Exactly 1 or -1 beyond the limit: a unit in the last place, times a large gelu input, would show.
SMELT_INLINE Vf Saturate(Vf x, float limit, Vf y) {
  y = IfLess(Set1(limit), x, Set1(1.0f), y);
  return IfLess(x, Set1(-limit), Set1(-1.0f), y);
}

// Eigen's rational approximations of tanh and erf.
SMELT_INLINE Vf Tanh(Vf x) {
  const Vf c = Clamp(x, -7.90531110763549805f, 7.90531110763549805f);
  const Vf s = c * c;
  Vf p = Set1(-2.76076847742355e-16f);
  p = Fma(p, s, Set1(2.00018790482477e-13f));
  p = Fma(p, s, Set1(-8.60467152213735e-11f));
  p = Fma(p, s, Set1(5.12229709037114e-08f));
  p = Fma(p, s, Set1(1.48572235717979e-05f));
  p = Fma(p, s, Set1(6.37261928875436e-04f));
  p = Fma(p, s, Set1(4.89352455891786e-03f)) * c;
  Vf q = Set1(1.19825839466702e-06f);
  q = Fma(q, s, Set1(1.18534705686654e-04f));
  q = Fma(q, s, Set1(2.26843463243900e-03f));
  q = Fma(q, s, Set1(4.89352518554385e-03f));
  return IfLess(Abs(x), Set1(0.0004f), x, Saturate(x, 7.9f, p / q));
}

SMELT_INLINE Vf Erf(Vf x) {
  const Vf c = Clamp(x, -4.0f, 4.0f);
  const Vf s = c * c;
  Vf p = Set1(-2.72614225801306e-10f);
  p = Fma(p, s, Set1(2.77068142495902e-08f));
  p = Fma(p, s, Set1(-2.10102402082508e-06f));
  p = Fma(p, s, Set1(-5.69250639462346e-05f));
  p = Fma(p, s, Set1(-7.34990630326855e-04f));
  p = Fma(p, s, Set1(-2.95459980854025e-03f));
  p = Fma(p, s, Set1(-1.60960333262415e-02f)) * c;
  Vf q = Set1(-1.45660718464996e-05f);
  q = Fma(q, s, Set1(-2.13374055278905e-04f));
  q = Fma(q, s, Set1(-1.68282697438203e-03f));
  q = Fma(q, s, Set1(-7.37332916720468e-03f));
  q = Fma(q, s, Set1(-1.42647390514189e-02f));
  return Saturate(x, 3.92f, p / q);
}

// log(1 + u) for u of [0, 1]: 2 atanh(u / (2 + u)).
SMELT_INLINE Vf Log1pUnit(Vf u) {
  const Vf s = u / (u + Set1(2.0f)), t = s * s;
  Vf p = Set1(2.0f / 15);
  p = Fma(p, t, Set1(2.0f / 13));
  p = Fma(p, t, Set1(2.0f / 11));
  p = Fma(p, t, Set1(2.0f / 9));
  p = Fma(p, t, Set1(2.0f / 7));
  p = Fma(p, t, Set1(2.0f / 5));
  p = Fma(p, t, Set1(2.0f / 3));
  return s * Fma(p, t, Set1(2.0f));
}
SMELT_INLINE Vf Softplus(Vf x) { return Max(x, Zero()) + Log1pUnit(Exp(Zero() - Abs(x))); }

SMELT_INLINE Vf Sigmoid(Vf x) { return Set1(1.0f) / (Set1(1.0f) + Exp(Zero() - x)); }
SMELT_INLINE Vf GeluTanh(Vf x) {
  const Vf cube = x * x * x;
  const Vf t = Tanh(Set1(0.7978845608028654f) * Fma(cube, Set1(0.044715f), x));
  return Set1(0.5f) * x * (Set1(1.0f) + t);
}
SMELT_INLINE Vf Gelu(Vf x) {
  return Set1(0.5f) * x * (Set1(1.0f) + Erf(x * Set1(0.70710678118654752f)));
}

SMELT_INLINE Vf Act(Activation act, Vf x) {
  switch (act) {
    case Activation::kNone:
      return x;
    case Activation::kSilu:
      return x * Sigmoid(x);
    case Activation::kGelu:
      return Gelu(x);
    case Activation::kGeluTanh:
      return GeluTanh(x);
    case Activation::kRelu:
      return Max(x, Zero());
    case Activation::kSigmoid:
      return Sigmoid(x);
    case Activation::kTanh:
      return Tanh(x);
    case Activation::kQuickGelu:
      return x * Sigmoid(x * Set1(1.702f));
    case Activation::kRelu2: {
      const Vf r = Max(x, Zero());
      return r * r;
    }
  }
  return x;
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
