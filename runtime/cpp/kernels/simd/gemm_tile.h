// Small blocks of a plain multiplication, for any product of 32-bit elements: `Product` adds one to
// a sum. Beside f32 it serves pairs of bf16.
#pragma once

#include "../isa.h"
#include "simd.h"

namespace smelt {
namespace SMELT_ISA_NS {

struct GemmBlock {  // as Gemm's arguments say
  const float* a;
  int64_t a_row, a_col;
  const float* b;
  int64_t ldb, k;
  float* c;
  int64_t ldc;
  bool add;
};

template <typename Product, int kRows, int kVecs>
void GemmTile(const GemmBlock& t) {
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
      for (int v = 0; v < kVecs; ++v) sum[r][v] = Product::Add(sum[r][v], column[v], x);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) Store(t.c + r * t.ldc + 16 * v, sum[r][v]);
  }
}

template <typename Product, int kVecs>
void GemmRows(GemmBlock t, int64_t rows) {
  while (rows > 0) {
    int64_t done = 0;
    if constexpr (kGemmRows >= 6) {
      if (rows >= 6)
        done = 6, GemmTile<Product, 6, kVecs>(t);
      else if (rows >= 4)
        done = 4, GemmTile<Product, 4, kVecs>(t);
    }
    if (done == 0 && kGemmRows >= 3 && rows == 3) done = 3, GemmTile<Product, 3, kVecs>(t);
    if (done == 0 && rows >= 2) done = 2, GemmTile<Product, 2, kVecs>(t);
    if (done == 0) done = 1, GemmTile<Product, 1, kVecs>(t);
    t.a += done * t.a_row;
    t.c += done * t.ldc;
    rows -= done;
  }
}

template <typename Product>
void GemmOf(GemmBlock t, int64_t rows, int64_t vecs) {
  while (vecs > 0) {
    int64_t done = 1;
    if constexpr (kGemmCols >= 4) {
      done = vecs >= 4 ? 4 : vecs >= 2 ? 2 : 1;
      if (done == 4) GemmRows<Product, 4>(t, rows);
      if (done == 2) GemmRows<Product, 2>(t, rows);
    }
    if (done == 1) GemmRows<Product, 1>(t, rows);
    t.b += 16 * done;
    t.c += 16 * done;
    vecs -= done;
  }
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
