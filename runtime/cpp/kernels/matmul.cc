// Plain f32 matrix multiplication and convolution: for what is not a packed weight.
#include <cstring>

#include "isa.h"

namespace smelt {
namespace {

constexpr int64_t kDepth = 256;     // rows of a packed panel of b: 64 KB, in the second level cache
constexpr int64_t kTaskRows = 192;  // rows of a that share one packing of the panel

int64_t DepthOf(int64_t k) { return k < kDepth ? k : kDepth; }

// Columns [first, first + 64) of rows [row, row + rows) of one product, with `panel` as private
// scratch.
void MultiplyPanel(const KernelTable& table, const MatMulArgs& m, const float* a, const float* b,
                   float* c, int64_t row, int64_t rows, int64_t first, float* panel) {
  const int64_t cols = m.n - first < kGemmPanel ? m.n - first : kGemmPanel;
  for (int64_t k = 0; k < m.k || k == 0; k += kDepth) {
    const int64_t depth = m.k - k < kDepth ? m.k - k : kDepth;
    const float* part = m.transpose_b ? b + k : b + k * m.ldb;
    table.gemm_pack(part, m.ldb, m.transpose_b, first, cols, depth, panel);
    table.gemm_panel(a + row * m.lda + k, m.lda, panel, depth, rows, cols, c + row * m.ldc + first,
                     m.ldc, k > 0);
  }
}

}  // namespace

size_t MatMulScratchBytes(const Exec& exec, const MatMulArgs& m) {
  return static_cast<size_t>(exec.threads() * RoundUp(DepthOf(m.k) * kGemmPanel * 4, 64));
}

void MatMul(const Exec& exec, const MatMulArgs& m, void* scratch) {
  const KernelTable& table = TableOf(exec.isa);
  const int64_t panels = CeilDiv(m.n, kGemmPanel), blocks = CeilDiv(m.m, kTaskRows);
  const bool small = m.batch * m.m * m.n * m.k <= 64 << 10;
  ParallelFor(
      small ? nullptr : exec.pool, m.batch * panels * blocks, [&](int64_t task, int thread) {
        const int64_t block = task % blocks, panel = task / blocks % panels,
                      batch = task / blocks / panels;
        const int64_t row = block * kTaskRows, rows = m.m - row < kTaskRows ? m.m - row : kTaskRows;
        float* packed = static_cast<float*>(scratch) + thread * DepthOf(m.k) * kGemmPanel;
        MultiplyPanel(table, m, m.a + batch * m.a_batch, m.b + batch * m.b_batch,
                      m.c + batch * m.c_batch, row, rows, panel * kGemmPanel, packed);
      });
}

// ---- convolution: y[out, positions] = w[out, taps] · patches[taps, positions], 64 positions at a
// time ------------

namespace {

struct ConvShape {
  int64_t out_h, out_w, positions, in, out, taps;  // in, out: channels of one group
};

ConvShape ShapeOf(const ConvArgs& a) {
  ConvShape s = {};
  s.out_h = ConvOut(a.height, a.kernel_h, a.stride_h, a.dilation_h, a.pad_top + a.pad_bottom);
  s.out_w = ConvOut(a.width, a.kernel_w, a.stride_w, a.dilation_w, a.pad_left + a.pad_right);
  s.positions = s.out_h * s.out_w;
  s.in = a.in / a.groups;
  s.out = a.out / a.groups;
  s.taps = s.in * a.kernel_h * a.kernel_w;
  return s;
}

// patches[tap, 64] for positions [first, first + count); zero outside the image.
void GatherPatches(const ConvArgs& a, const ConvShape& s, const float* x, int64_t first,
                   int64_t count, float* patches) {
  for (int64_t tap = 0; tap < s.taps; ++tap, patches += kGemmPanel) {
    const int64_t kw = tap % a.kernel_w, kh = tap / a.kernel_w % a.kernel_h,
                  c = tap / a.kernel_w / a.kernel_h;
    const float* image = x + c * a.height * a.width;
    for (int64_t i = 0; i < kGemmPanel; ++i) {
      const int64_t position = first + i;
      const int64_t h = position / s.out_w * a.stride_h + kh * a.dilation_h - a.pad_top;
      const int64_t w = position % s.out_w * a.stride_w + kw * a.dilation_w - a.pad_left;
      const bool inside = i < count && h >= 0 && h < a.height && w >= 0 && w < a.width;
      patches[i] = inside ? image[h * a.width + w] : 0.0f;
    }
  }
}

void AddBias(const float* bias, int64_t rows, int64_t cols, float* y, int64_t stride) {
  for (int64_t r = 0; bias != nullptr && r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) y[r * stride + c] += bias[r];
  }
}

// One channel a group: each output row is a short sum of shifted input rows.
void Depthwise(const Exec& exec, const ConvArgs& a, const ConvShape& s) {
  ParallelFor(exec.pool, a.batch * a.out, [&](int64_t task, int) {
    const int64_t b = task / a.out, o = task % a.out;
    const float* x = a.x + (b * a.in + o / s.out) * a.height * a.width;
    const float* w = a.w + o * s.taps;
    float* y = a.y + task * s.positions;
    for (int64_t oh = 0; oh < s.out_h; ++oh) {
      for (int64_t ow = 0; ow < s.out_w; ++ow) {
        float sum = a.bias != nullptr ? a.bias[o] : 0.0f;
        for (int64_t kh = 0; kh < a.kernel_h; ++kh) {
          const int64_t h = oh * a.stride_h + kh * a.dilation_h - a.pad_top;
          if (h < 0 || h >= a.height) continue;
          for (int64_t kw = 0; kw < a.kernel_w; ++kw) {
            const int64_t at = ow * a.stride_w + kw * a.dilation_w - a.pad_left;
            if (at >= 0 && at < a.width) sum += w[kh * a.kernel_w + kw] * x[h * a.width + at];
          }
        }
        y[oh * s.out_w + ow] = sum;
      }
    }
  });
}

}  // namespace

int64_t ConvOut(int64_t size, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad_both) {
  return (size + pad_both - dilation * (kernel - 1) - 1) / stride + 1;
}

size_t ConvScratchBytes(const Exec& exec, const ConvArgs& a) {
  const ConvShape s = ShapeOf(a);
  if (s.in == 1) return 64;
  return static_cast<size_t>(exec.threads() * RoundUp(s.taps * kGemmPanel * 4, 64));
}

void Conv(const Exec& exec, const ConvArgs& a, void* scratch) {
  const ConvShape s = ShapeOf(a);
  if (s.in == 1 && a.groups > 1) return Depthwise(exec, a, s);
  const KernelTable& table = TableOf(exec.isa);
  const int64_t panels = CeilDiv(s.positions, kGemmPanel);
  ParallelFor(exec.pool, a.batch * a.groups * panels, [&](int64_t task, int thread) {
    const int64_t first = task % panels * kGemmPanel, group = task / panels % a.groups,
                  b = task / panels / a.groups;
    const int64_t count = s.positions - first < kGemmPanel ? s.positions - first : kGemmPanel;
    float* patches = static_cast<float*>(scratch) + thread * s.taps * kGemmPanel;
    GatherPatches(a, s, a.x + (b * a.in + group * s.in) * a.height * a.width, first, count,
                  patches);
    const float* w = a.w + group * s.out * s.taps;
    float* y = a.y + (b * a.out + group * s.out) * s.positions + first;
    for (int64_t k = 0; k < s.taps; k += kDepth) {
      const int64_t depth = s.taps - k < kDepth ? s.taps - k : kDepth;
      table.gemm_panel(w + k, s.taps, patches + k * kGemmPanel, depth, s.out, count, y, s.positions,
                       k > 0);
    }
    AddBias(a.bias != nullptr ? a.bias + group * s.out : nullptr, s.out, count, y, s.positions);
  });
}

}  // namespace smelt
