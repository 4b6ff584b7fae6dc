// The instruction set: one row an opcode. Numbers are part of the file format and are never reused.
#include "ops/ops.h"

namespace smelt {
namespace {

using namespace ops;

constexpr bool kInPlace = true;

constexpr OpSpec kAll[] = {
    // elementwise, one operand
    {1, "neg", "x", 1, "", CheckUnary, RunNeg, nullptr, kInPlace},
    {2, "abs", "x", 1, "", CheckUnary, RunAbs, nullptr, kInPlace},
    {3, "sign", "x", 1, "", CheckUnary, RunSign, nullptr, kInPlace},
    {4, "floor", "x", 1, "", CheckFloatUnary, RunFloor, nullptr, kInPlace},
    {5, "round", "x", 1, "", CheckFloatUnary, RunRound, nullptr, kInPlace},
    {6, "sqrt", "x", 1, "", CheckFloatUnary, RunSqrt, nullptr, kInPlace},
    {7, "rsqrt", "x", 1, "", CheckFloatUnary, RunRsqrt, nullptr, kInPlace},
    {8, "exp", "x", 1, "", CheckFloatUnary, RunExp, nullptr, kInPlace},
    {9, "log", "x", 1, "", CheckFloatUnary, RunLog, nullptr, kInPlace},
    {10, "sin", "x", 1, "", CheckFloatUnary, RunSin, nullptr, kInPlace},
    {11, "cos", "x", 1, "", CheckFloatUnary, RunCos, nullptr, kInPlace},
    {12, "tanh", "x", 1, "", CheckFloatUnary, RunTanh, nullptr, kInPlace},
    {13, "erf", "x", 1, "", CheckFloatUnary, RunErf, nullptr, kInPlace},
    {14, "sigmoid", "x", 1, "", CheckFloatUnary, RunSigmoid, nullptr, kInPlace},
    {15, "logical_not", "x", 1, "", CheckNot, RunNot, nullptr, kInPlace},
    // elementwise, two and three operands, spread to the shape of the output
    {20, "add", "xx", 1, "", CheckBinary, RunAdd, nullptr, kInPlace},
    {21, "sub", "xx", 1, "", CheckBinary, RunSub, nullptr, kInPlace},
    {22, "mul", "xx", 1, "", CheckBinary, RunMul, nullptr, kInPlace},
    {23, "div", "xx", 1, "", CheckBinary, RunDiv, nullptr, kInPlace},
    {24, "mod", "xx", 1, "", CheckBinary, RunMod, nullptr, kInPlace},
    {25, "pow", "xx", 1, "", CheckBinary, RunPow, nullptr, kInPlace},
    {26, "maximum", "xx", 1, "", CheckBinary, RunMaximum, nullptr, kInPlace},
    {27, "minimum", "xx", 1, "", CheckBinary, RunMinimum, nullptr, kInPlace},
    {28, "equal", "xx", 1, "", CheckCompare, RunEqual, nullptr, false},
    {29, "less", "xx", 1, "", CheckCompare, RunLess, nullptr, false},
    {30, "less_equal", "xx", 1, "", CheckCompare, RunLessEqual, nullptr, false},
    {31, "logical_and", "xx", 1, "", CheckLogic, RunAnd, nullptr, kInPlace},
    {32, "logical_or", "xx", 1, "", CheckLogic, RunOr, nullptr, kInPlace},
    {33, "where", "xxx", 1, "", CheckWhere, RunWhere, nullptr, false},
    // moving elements
    {40, "cast", "x", 1, "", CheckCast, RunCast, nullptr, false},
    {41, "copy", "x", 1, "", CheckCopy, RunCopy, nullptr, false},
    {42, "full", "", 1, "ww", CheckFull, RunFull, nullptr, false},  // the f64 value's two halves
    {43, "arange", "", 1, "d", CheckArange, RunArange, nullptr, false},  // start
    {44, "pad", "x", 1, "wdww", CheckPad, RunPad, nullptr, false},       // axis, before, f64 value
    {45, "flip", "x", 1, "w", CheckFlip, RunFlip, nullptr, false},
    {46, "gather", "xx", 1, "w", CheckGather, RunGather, nullptr, false},  // axis
    {47, "gather_elements", "xx", 1, "w", CheckGatherElements, RunGatherElements, nullptr, false},
    {48, "embedding", "xx", 1, "", CheckEmbedding, RunEmbedding, nullptr,
     false},  // packed table, ids
    // along axes; the word is a set of axes, one bit each, or one axis
    {50, "sum", "x", 1, "w", CheckReduce, RunSum, nullptr, false},
    {51, "mean", "x", 1, "w", CheckReduce, RunMean, nullptr, false},
    {52, "max", "x", 1, "w", CheckReduce, RunMax, nullptr, false},
    {53, "min", "x", 1, "w", CheckReduce, RunMin, nullptr, false},
    {54, "argmax", "x", 1, "w", CheckArgmax, RunArgmax, nullptr, false},
    {55, "cumsum", "x", 1, "w", CheckCumsum, RunCumsum, nullptr, false},
    {56, "topk", "x", 2, "", CheckTopK, RunTopK, ScratchTopK, false},
    {57, "softmax", "x", 1, "", CheckSoftmax, RunSoftmax, nullptr, kInPlace},
    // matrices
    {60, "linear", "xx??", 1, "ww", CheckLinear, RunLinear, ScratchLinear,
     false},  // x w bias residual; act input
    {61, "gated_linear", "xx???", 1, "ww", CheckGatedLinear, RunGatedLinear, ScratchGatedLinear,
     false},
    {62, "grouped_linear", "xxx?", 1, "ww", CheckGroupedLinear, RunGroupedLinear,
     ScratchGroupedLinear, false},
    {63, "matmul", "xx", 1, "", CheckMatMul, RunMatMul, ScratchMatMul, false},
    {64, "conv", "xx?", 1, "wwwwwwwww", CheckConv, RunConv, ScratchConv, false},
    {65, "selective_scan", "xxxxxx", 2, "", CheckSelectiveScan, RunSelectiveScan, nullptr, false},
    {66, "unpack", "x", 1, "", CheckUnpack, RunUnpack, nullptr, false},
    {67, "recurrence", "xxx", 1, "w", CheckRecurrence, RunRecurrence, nullptr, false},  // is max
    {68, "linear_attention", "xxxx?x", 2, "", CheckLinearAttention, RunLinearAttention,
     ScratchLinearAttention, false},
    // fused
    {70, "rms_norm", "x?", 1, "ff", CheckRmsNorm, RunRmsNorm, nullptr, kInPlace},  // eps offset
    {71, "layer_norm", "x??", 1, "f", CheckLayerNorm, RunLayerNorm, nullptr, kInPlace},
    {72, "add_rms_norm", "xx?", 2, "ff", CheckAddRmsNorm, RunAddRmsNorm, nullptr,
     false},  // out: sum, norm
    {73, "add_layer_norm", "xx??", 2, "f", CheckAddLayerNorm, RunAddLayerNorm, nullptr, false},
    {74, "activate", "x", 1, "w", CheckActivate, RunActivate, nullptr, kInPlace},
    {75, "gated_activate", "xx", 1, "w", CheckGatedActivate, RunGatedActivate, nullptr, false},
    {76, "rope", "xxx", 1, "w", CheckRope, RunRope, nullptr, kInPlace},         // interleaved
    {77, "quantize", "x", 2, "w", CheckQuantize, RunQuantize, nullptr, false},  // group
    // state
    {80, "append", "x", 0, "s", CheckAppend, RunAppend, nullptr, false},
    {81, "write_state", "x", 0, "s", CheckWriteState, RunWriteState, nullptr, false},
    {82, "load_cache", "x", 1, "", CheckLoadCache, RunLoadCache, nullptr, false},
    {83, "attention", "xxx???", 1, "ffwww", CheckAttention, RunAttention, ScratchAttention, false},
};

// A build for known models says which opcodes it keeps (SMELT_OPS in CMake). The others' rows are
// empty, so that nothing refers to what implements them and the linker leaves it out.
constexpr bool IsKept([[maybe_unused]] uint16_t opcode) {
#ifdef SMELT_KEPT_OPS
  for (uint16_t kept : {SMELT_KEPT_OPS}) {
    if (kept == opcode) return true;
  }
  return false;
#else
  return true;
#endif
}

struct Table {
  OpSpec rows[sizeof kAll / sizeof *kAll] = {};
  int8_t row_of[128] = {};
  constexpr Table() {
    for (int8_t& row : row_of) row = -1;
    int8_t count = 0;
    for (const OpSpec& spec : kAll) {
      if (!IsKept(spec.opcode)) continue;
      rows[count] = spec;
      row_of[spec.opcode] = count++;
    }
  }
};
constexpr Table kTable;

}  // namespace

const OpSpec* FindOp(uint16_t opcode) {
  if (opcode >= 128 || kTable.row_of[opcode] < 0) return nullptr;
  return &kTable.rows[kTable.row_of[opcode]];
}

}  // namespace smelt
