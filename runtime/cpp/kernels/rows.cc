// Row-wise and element-wise kernels: shares rows or ranges out over the threads.
#include "isa.h"

namespace smelt {
namespace {

constexpr int64_t kTaskFloats = 16 << 10;  // smaller work stays on the calling thread

// body(first, last) over [0, rows) in runs of about kTaskFloats elements.
template <typename Body>
void ForRows(const Exec& exec, int64_t rows, int64_t dim, const Body& body) {
  const int64_t step = dim >= kTaskFloats ? 1 : CeilDiv(kTaskFloats, dim > 0 ? dim : 1);
  if (rows <= step) return body(int64_t{0}, rows);
  ParallelFor(exec.pool, CeilDiv(rows, step), [&](int64_t task, int) {
    body(task * step, (task + 1) * step < rows ? (task + 1) * step : rows);
  });
}

}  // namespace

void RmsNorm(const Exec& exec, const NormArgs& a) {
  ForRows(exec, a.rows, a.dim,
          [&](int64_t first, int64_t last) { TableOf(exec.isa).rms_norm(a, first, last); });
}

void LayerNorm(const Exec& exec, const NormArgs& a) {
  ForRows(exec, a.rows, a.dim,
          [&](int64_t first, int64_t last) { TableOf(exec.isa).layer_norm(a, first, last); });
}

void Softmax(const Exec& exec, const float* x, int64_t rows, int64_t dim, float* y) {
  ForRows(exec, rows, dim, [&](int64_t first, int64_t last) {
    TableOf(exec.isa).softmax(x + first * dim, last - first, dim, y + first * dim);
  });
}

int64_t LinearAttentionScratchBytes(const Exec& exec, int64_t dim) {
  return RoundUp((dim * kMemoryColumns + RoundUp(dim, 16)) * 4, 64) * exec.threads();
}

void LinearAttention(const Exec& exec, const LinearAttentionArgs& a, void* scratch) {
  const int64_t pieces = CeilDiv(a.width, kMemoryColumns);
  const int64_t each = RoundUp((a.dim * kMemoryColumns + RoundUp(a.dim, 16)) * 4, 64);
  ParallelFor(exec.pool, a.batch * a.heads * pieces, [&](int64_t task, int thread) {
    const int64_t row = task / pieces;
    TableOf(exec.isa).linear_attention(
        a, row / a.heads, row % a.heads, task % pieces * kMemoryColumns,
        reinterpret_cast<float*>(static_cast<uint8_t*>(scratch) + thread * each));
  });
}

void Activate(const Exec& exec, Activation act, const float* x, int64_t count, float* y) {
  ForRows(exec, CeilDiv(count, 1024), 1024, [&](int64_t first, int64_t last) {
    const int64_t end = last * 1024 < count ? last * 1024 : count;
    TableOf(exec.isa).activate(act, x + first * 1024, end - first * 1024, y + first * 1024);
  });
}

void ApplyUnary(const Exec& exec, Unary op, const float* x, int64_t count, float* y) {
  ForRows(exec, CeilDiv(count, 1024), 1024, [&](int64_t first, int64_t last) {
    const int64_t end = last * 1024 < count ? last * 1024 : count;
    TableOf(exec.isa).unary(op, x + first * 1024, end - first * 1024, y + first * 1024);
  });
}

void GatedActivate(const Exec& exec, Activation act, const float* gate, int64_t gate_stride,
                   const float* up, int64_t up_stride, int64_t rows, int64_t dim, float* y,
                   int64_t y_stride) {
  ForRows(exec, rows, dim, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      TableOf(exec.isa).gated(act, gate + r * gate_stride, up + r * up_stride, dim,
                              y + r * y_stride);
    }
  });
}

void ApplyBinary(const Exec& exec, Binary op, const float* a, int64_t a_row, int64_t a_col,
                 const float* b, int64_t b_row, int64_t b_col, int64_t rows, int64_t cols,
                 float* y) {
  const KernelTable& table = TableOf(exec.isa);
  // One long row is cut into pieces, so that it too is shared out.
  constexpr int64_t kPiece = kTaskFloats;
  const int64_t pieces = CeilDiv(cols, kPiece);
  ForRows(exec, rows * pieces, cols < kPiece ? cols : kPiece, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t r = i / pieces, c = i % pieces * kPiece,
                    n = c + kPiece < cols ? kPiece : cols - c;
      table.binary(op, a + r * a_row + c * a_col, a_col, b + r * b_row + c * b_col, b_col, n,
                   y + r * cols + c);
    }
  });
}

void QuantizeRows(const Exec& exec, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
                  int32_t group, int8_t* q, float* scales) {
  const int64_t groups = CeilDiv(cols, group);
  ForRows(exec, rows, cols, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      TableOf(exec.isa).quantize_row(x + r * x_stride, cols, group, q + r * cols,
                                     scales + r * groups);
    }
  });
}

void Rope(const Exec& exec, const RopeArgs& a) {
  ForRows(exec, a.batch * a.tokens, a.heads * a.dim, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) TableOf(exec.isa).rope(a, i / a.tokens, i % a.tokens);
  });
}

}  // namespace smelt
