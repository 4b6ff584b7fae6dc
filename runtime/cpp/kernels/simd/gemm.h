// Plain f32 multiplication of small blocks, shared by matmul and attention.
#pragma once

#include "../isa.h"
#include "simd.h"

namespace smelt {
namespace SMELT_ISA_NS {

// c[rows, 16 * vecs] = (add ? c : 0) + sum over k of a(r, k) b(k, :): a(r, k) at a[r * a_row + k *
// a_col], rows of b ldb apart.
void Gemm(const float* a, int64_t a_row, int64_t a_col, const float* b, int64_t ldb, int64_t k,
          int64_t rows, int64_t vecs, float* c, int64_t ldc, bool add);

void GemmPanel(const float* a, int64_t lda, const float* panel, int64_t k, int64_t rows,
               int64_t cols, float* c, int64_t ldc, bool add);
void GemmPack(const float* b, int64_t ldb, bool transposed, int64_t first, int64_t cols, int64_t k,
              float* panel);

}  // namespace SMELT_ISA_NS
}  // namespace smelt
