#include "gemm.h"

#include "gemm_tile.h"

namespace smelt {
namespace SMELT_ISA_NS {
namespace {

struct FloatProduct {
  static SMELT_INLINE_MEMBER Vf Add(Vf sum, Vf column, Vf x) { return Fma(x, column, sum); }
};

}  // namespace

void Gemm(const float* a, int64_t a_row, int64_t a_col, const float* b, int64_t ldb, int64_t k,
          int64_t rows, int64_t vecs, float* c, int64_t ldc, bool add) {
  GemmOf<FloatProduct>({a, a_row, a_col, b, ldb, k, c, ldc, add}, rows, vecs);
}

void GemmPanel(const float* a, int64_t lda, const float* panel, int64_t k, int64_t rows,
               int64_t cols, float* c, int64_t ldc, bool add) {
  if (cols == kGemmPanel)
    return Gemm(a, lda, 1, panel, kGemmPanel, k, rows, kGemmPanel / 16, c, ldc, add);
  constexpr int64_t kStep = 12;
  alignas(64) float part[kStep * kGemmPanel];  // whole vectors would pass the end of c's rows
  for (int64_t r = 0; r < rows; r += kStep) {
    const int64_t n = rows - r < kStep ? rows - r : kStep;
    Gemm(a + r * lda, lda, 1, panel, kGemmPanel, k, n, CeilDiv(cols, 16), part, kGemmPanel, false);
    for (int64_t i = 0; i < n; ++i) {
      float* y = c + (r + i) * ldc;
      for (int64_t j = 0; j < cols; j += 16) {
        Vf sum = Load(part + i * kGemmPanel + j);
        if (add) sum = sum + LoadN(y + j, cols - j);
        StoreN(y + j, sum, cols - j);
      }
    }
  }
}

void GemmPack(const float* b, int64_t ldb, bool transposed, int64_t first, int64_t cols, int64_t k,
              float* panel) {
  if (!transposed) {
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < kGemmPanel; j += 16) {
        Store(panel + i * kGemmPanel + j,
              j < cols ? LoadN(b + i * ldb + first + j, cols - j) : Zero());
      }
    }
    return;
  }
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < cols; ++j) panel[i * kGemmPanel + j] = b[(first + j) * ldb + i];
    for (int64_t j = cols; j < kGemmPanel; ++j) panel[i * kGemmPanel + j] = 0.0f;
  }
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
