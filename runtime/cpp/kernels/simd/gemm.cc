#include "gemm.h"

namespace smelt {
namespace SMELT_ISA_NS {
namespace {

struct Block {
  const float* a;
  int64_t a_row, a_col;
  const float* b;
  int64_t ldb, k;
  float* c;
  int64_t ldc;
  bool add;
};

template <int kRows, int kVecs>
void Tile(const Block& t) {
  Vf sum[kRows][kVecs];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) sum[r][v] = t.add ? Load(t.c + r * t.ldc + 16 * v) : Zero();
  }
  const float* a = t.a;
  const float* b = t.b;
  for (int64_t k = 0; k < t.k; ++k, a += t.a_col, b += t.ldb) {
    Vf column[kVecs];
    for (int v = 0; v < kVecs; ++v) column[v] = Load(b + 16 * v);
    for (int r = 0; r < kRows; ++r) {
      const Vf x = Set1(a[r * t.a_row]);
      for (int v = 0; v < kVecs; ++v) sum[r][v] = Fma(x, column[v], sum[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) Store(t.c + r * t.ldc + 16 * v, sum[r][v]);
  }
}

template <int kVecs>
void Rows(Block t, int64_t rows) {
  while (rows > 0) {
    int64_t done = 0;
    if constexpr (kGemmRows >= 6) {
      if (rows >= 6)
        done = 6, Tile<6, kVecs>(t);
      else if (rows >= 4)
        done = 4, Tile<4, kVecs>(t);
    }
    if (done == 0 && kGemmRows >= 3 && rows == 3) done = 3, Tile<3, kVecs>(t);
    if (done == 0 && rows >= 2) done = 2, Tile<2, kVecs>(t);
    if (done == 0) done = 1, Tile<1, kVecs>(t);
    t.a += done * t.a_row;
    t.c += done * t.ldc;
    rows -= done;
  }
}

}  // namespace

void Gemm(const float* a, int64_t a_row, int64_t a_col, const float* b, int64_t ldb, int64_t k,
          int64_t rows, int64_t vecs, float* c, int64_t ldc, bool add) {
  while (vecs > 0) {
    const Block t = {a, a_row, a_col, b, ldb, k, c, ldc, add};
    int64_t done = 1;
    if constexpr (kGemmCols >= 4) {
      done = vecs >= 4 ? 4 : vecs >= 2 ? 2 : 1;
      if (done == 4) Rows<4>(t, rows);
      if (done == 2) Rows<2>(t, rows);
    }
    if (done == 1) Rows<1>(t, rows);
    b += 16 * done;
    c += 16 * done;
    vecs -= done;
  }
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
