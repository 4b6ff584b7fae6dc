// Norms, softmax, rope and element-wise kernels of one instruction set.
#pragma once

#include "../isa.h"
#include "simd.h"

namespace smelt {
namespace SMELT_ISA_NS {

void RopeToken(const RopeArgs& args, int64_t b, int64_t token);
void RmsNormRows(const NormArgs& args, int64_t row_first, int64_t row_last);
void LayerNormRows(const NormArgs& args, int64_t row_first, int64_t row_last);
void LinearAttentionColumns(const LinearAttentionArgs& args, int64_t b, int64_t head, int64_t first,
                            float* scratch);
void SoftmaxRows(const float* x, int64_t rows, int64_t dim, float* y);
void ActivateRange(Activation act, const float* x, int64_t count, float* y);
void GatedRange(Activation act, const float* gate, const float* up, int64_t count, float* y);
void UnaryRange(Unary op, const float* x, int64_t count, float* y);
void BinaryRange(Binary op, const float* a, int64_t a_col, const float* b, int64_t b_col,
                 int64_t count, float* y);

}  // namespace SMELT_ISA_NS
}  // namespace smelt
