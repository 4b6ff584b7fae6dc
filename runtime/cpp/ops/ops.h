// The checks and bodies of all instructions, by family. ops/table.cc says which opcode uses which.
#pragma once

#include "core/op.h"

namespace smelt::ops {

#define SMELT_OP(name)                  \
  Status Check##name(const Call& call); \
  Status Run##name(const Call& call)

// elementwise.cc
Status CheckUnary(const Call& call);  // any number type, same out
Status CheckFloatUnary(const Call& call);
Status CheckBinary(const Call& call);
Status CheckCompare(const Call& call);
Status CheckLogic(const Call& call);
Status RunNeg(const Call& call);
Status RunAbs(const Call& call);
Status RunSign(const Call& call);
Status RunFloor(const Call& call);
Status RunRound(const Call& call);
Status RunSqrt(const Call& call);
Status RunRsqrt(const Call& call);
Status RunExp(const Call& call);
Status RunLog(const Call& call);
Status RunSin(const Call& call);
Status RunCos(const Call& call);
Status RunTanh(const Call& call);
Status RunErf(const Call& call);
Status RunSigmoid(const Call& call);
Status RunAdd(const Call& call);
Status RunSub(const Call& call);
Status RunMul(const Call& call);
Status RunDiv(const Call& call);
Status RunMod(const Call& call);
Status RunPow(const Call& call);
Status RunMaximum(const Call& call);
Status RunMinimum(const Call& call);
Status RunEqual(const Call& call);
Status RunLess(const Call& call);
Status RunLessEqual(const Call& call);
Status RunAnd(const Call& call);
Status RunOr(const Call& call);
Status CheckNot(const Call& call);
Status RunNot(const Call& call);
SMELT_OP(Where);

// shape.cc
SMELT_OP(Cast);
SMELT_OP(Copy);
SMELT_OP(Full);
SMELT_OP(Arange);
SMELT_OP(Pad);
SMELT_OP(Flip);

// reduce.cc
Status CheckReduce(const Call& call);
Status RunSum(const Call& call);
Status RunMean(const Call& call);
Status RunMax(const Call& call);
Status RunMin(const Call& call);
SMELT_OP(Argmax);
SMELT_OP(Cumsum);
SMELT_OP(TopK);
int64_t ScratchTopK(const Call& call);
SMELT_OP(Softmax);

// index.cc
SMELT_OP(Gather);
SMELT_OP(GatherElements);
SMELT_OP(Embedding);

// matrix.cc
SMELT_OP(Linear);
int64_t ScratchLinear(const Call& call);
SMELT_OP(GatedLinear);
int64_t ScratchGatedLinear(const Call& call);
SMELT_OP(GroupedLinear);
int64_t ScratchGroupedLinear(const Call& call);
SMELT_OP(MatMul);
int64_t ScratchMatMul(const Call& call);
SMELT_OP(Conv);
int64_t ScratchConv(const Call& call);
SMELT_OP(SelectiveScan);
SMELT_OP(Unpack);

// recurrence.cc
SMELT_OP(Recurrence);
SMELT_OP(LinearAttention);
int64_t ScratchLinearAttention(const Call& call);

// fused.cc
SMELT_OP(RmsNorm);
SMELT_OP(LayerNorm);
SMELT_OP(AddRmsNorm);
SMELT_OP(AddLayerNorm);
SMELT_OP(Activate);
SMELT_OP(GatedActivate);
SMELT_OP(Rope);
SMELT_OP(Quantize);

// state.cc
SMELT_OP(Append);
SMELT_OP(WriteState);
SMELT_OP(LoadCache);
SMELT_OP(Attention);
int64_t ScratchAttention(const Call& call);

#undef SMELT_OP

}  // namespace smelt::ops
