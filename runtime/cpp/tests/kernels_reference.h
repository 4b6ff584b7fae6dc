// What the kernel tests share: a deterministic generator, a packer written from the layout table of
// kernels.h, checks.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../kernels/half.h"
#include "../kernels/kernels.h"

namespace smelt::testing {

inline int failures = 0;
inline const char* where = "";

struct Random {
  uint64_t state = 88172645463325252ull;
  uint64_t Next() {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
  }
  int64_t Int(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Next() % static_cast<uint64_t>(high - low + 1));
  }
  float Unit() { return static_cast<float>(Next() >> 40) / 8388608.0f - 1.0f; }  // [-1, 1)
  std::vector<float> Floats(int64_t n, float scale = 1.0f) {
    std::vector<float> x(static_cast<size_t>(n));
    for (float& v : x) v = Unit() * scale;
    return x;
  }
};

// 64-byte aligned memory with a guard at the end of exactly the asked size (address sanitizer sees
// an overrun).
class Buffer {
 public:
  explicit Buffer(size_t bytes) : raw_(bytes + 128) {
    const size_t shift = 64 - reinterpret_cast<uintptr_t>(raw_.data()) % 64;
    raw_.resize(shift + bytes);
    p_ = raw_.data() + shift;
    if (reinterpret_cast<uintptr_t>(p_) % 64 != 0) abort();
  }
  Buffer(const Buffer&) = delete;
  uint8_t* data() { return p_; }

 private:
  std::vector<uint8_t> raw_;
  uint8_t* p_;
};

struct Weights {
  PackedShape shape;
  std::vector<float> plain;    // [rows, cols]: the exact values
  std::vector<int32_t> codes;  // [rows, cols]: code - zero
  std::vector<float> scales;   // [rows, groups]
  std::vector<uint8_t> blob;   // unaligned storage; the packed matrix begins at data()
  size_t shift = 0;
  const uint8_t* data() const { return blob.data() + shift; }
  PackedMatrix matrix() const { return MatrixAt(shape, data()); }
};

inline Weights MakeWeights(Random& random, const PackedShape& shape, bool unit_scales = false) {
  Weights w;
  w.shape = shape;
  const PackedLayout layout = LayoutOf(shape);
  const int64_t rows = shape.rows, cols = shape.cols, padded = layout.padded_cols;
  w.blob.assign(static_cast<size_t>(layout.bytes) + 64, 0);
  w.shift = 64 - reinterpret_cast<uintptr_t>(w.blob.data()) % 64;
  w.blob.resize(w.shift + static_cast<size_t>(layout.bytes));
  uint8_t* p = w.blob.data() + w.shift;
  w.plain.resize(static_cast<size_t>(rows * cols));
  const auto put16 = [&](int64_t at, uint16_t h) { memcpy(p + at * 2, &h, 2); };
  if (shape.format == Format::kF32 || shape.format == Format::kF16 ||
      shape.format == Format::kBf16) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        float x = random.Unit();
        if (shape.format == Format::kF16) x = FloatOfF16(F16OfFloat(x));
        if (shape.format == Format::kBf16) x = FloatOfBf16(Bf16OfFloat(x));
        w.plain[static_cast<size_t>(r * cols + c)] = x;
        const int64_t panel = r / 16 * padded * 16;
        if (shape.format == Format::kF32) memcpy(p + (panel + c * 16 + r % 16) * 4, &x, 4);
        if (shape.format == Format::kF16) put16(panel + c * 16 + r % 16, F16OfFloat(x));
        if (shape.format == Format::kBf16)
          put16(panel + c / 2 * 32 + r % 16 * 2 + c % 2, Bf16OfFloat(x));
      }
    }
    return w;
  }
  const bool four = shape.format == Format::kInt4;
  const int64_t group = shape.group, groups = padded / group, panels = (rows + 15) / 16;
  const int32_t constant = four ? 8 : 128, top = four ? 15 : 255;
  w.codes.resize(static_cast<size_t>(rows * cols));
  w.scales.resize(static_cast<size_t>(rows * groups));
  for (int64_t r = 0; r < panels * 16; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      const float scale =
          unit_scales ? 1.0f : FloatOfF16(F16OfFloat(0.01f + 0.01f * random.Unit()));
      const int32_t zero = shape.symmetric ? constant : static_cast<int32_t>(random.Int(0, top));
      const int64_t at = (r / 16 * groups + g) * 16 + r % 16;
      if (r < rows) {
        w.scales[static_cast<size_t>(r * groups + g)] = scale;
        put16(layout.scales_offset / 2 + at, F16OfFloat(scale));
      }
      if (!shape.symmetric) p[layout.zeros_offset + at] = static_cast<uint8_t>(zero);
      for (int64_t c = g * group; c < (g + 1) * group; ++c) {
        const bool real = r < rows && c < cols;
        // Extremes often: 0 and the largest code are where narrow arithmetic would saturate.
        const int64_t dice = random.Int(0, 3), lowest = shape.symmetric && !four ? 1 : 0;
        const int32_t code = !real ? zero
                                   : static_cast<int32_t>(dice == 0   ? lowest
                                                          : dice == 1 ? top
                                                                      : random.Int(lowest, top));
        if (real) {
          w.codes[static_cast<size_t>(r * cols + c)] = code - zero;
          w.plain[static_cast<size_t>(r * cols + c)] = scale * static_cast<float>(code - zero);
        }
        const int64_t panel = r / 16 * padded * 16;
        if (four)
          p[panel / 2 + c / 8 * 64 + r % 16 * 4 + c % 4] |=
              static_cast<uint8_t>(code << (c / 4 % 2 * 4));
        else
          p[panel + c / 4 * 64 + r % 16 * 4 + c % 4] = static_cast<uint8_t>(code);
      }
    }
  }
  return w;
}

// Largest |a - b| relative to the largest |b|.
inline void ExpectNear(const std::vector<float>& got, const std::vector<double>& want,
                       double tolerance) {
  double most = 1e-30, worst = 0.0;
  size_t at = 0;
  for (size_t i = 0; i < want.size(); ++i) most = std::fmax(most, std::fabs(want[i]));
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::fabs(static_cast<double>(got[i]) - want[i]);
    if (!(error <= worst)) worst = error, at = i;  // NaN counts
  }
  if (worst <= tolerance * most) return;
  ++failures;
  if (failures < 30)
    printf("FAIL %s: [%zu] is %g, should be %g (largest %g)\n", where, at,
           static_cast<double>(got[at]), want[at], most);
}

inline void Expect(bool ok, const char* what) {
  if (ok) return;
  ++failures;
  if (failures < 30) printf("FAIL %s: %s\n", where, what);
}

template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

inline double ActRef(Activation act, double x) {
  switch (act) {
    case Activation::kNone:
      return x;
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kQuickGelu:
      return x / (1 + std::exp(-1.702 * x));
    case Activation::kRelu2:
      return x > 0 ? x * x : 0;
  }
  return 0;
}

// Every instruction set of this machine, with 1 to 4 threads: body(exec).
template <typename Body>
void ForEachExec(const Body& body) {
  static ThreadPool pools[3];
  static bool started = false;
  for (int i = 0; i < 3 && !started; ++i) pools[i].Start(i + 2);
  started = true;
  for (int i = 0; i < kIsas; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (!IsaSupported(isa)) continue;
    body(Exec{isa, nullptr});
    for (ThreadPool& pool : pools) body(Exec{isa, &pool});
  }
}

}  // namespace smelt::testing
